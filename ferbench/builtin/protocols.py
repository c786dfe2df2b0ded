"""The protocols of the core."""

from ferbench.contract.protocol import Protocol, Recipe, StrongView, WeakView

SYNTHFACES = Recipe(
    backbone="small-resnet/16",
    image_size=48,
    steps=1800,
    labeled_batch=32,
    unlabeled_batch=64,
    learning_rate=4e-3,
    weight_decay=0.02,
    ema_decay=0.99,
    weak=WeakView(padding=2),
    strong=StrongView(),
)

FER_GPU = Recipe(
    backbone="timm/resnet18",
    image_size=112,
    steps=20_000,
    labeled_batch=32,
    unlabeled_batch=96,
    learning_rate=5e-4,
    weight_decay=1e-4,
    ema_decay=0.999,
    weak=WeakView(padding=8),
)

RECIPES = {"synthfaces": SYNTHFACES, "default": FER_GPU}

# The papers' weak crop: for half of the images, by 8 of 224 pixels, scaled to the image size.
PAPERS_CROP = WeakView(padding=0, padding_share=0.036, crop_probability=0.5)

PAPERS = Recipe(
    backbone="timm/resnet18",
    image_size=224,
    stored_size=100,
    steps=16_000,
    labeled_batch=16,
    unlabeled_batch=16,
    optimizer="adam",
    learning_rate=5e-4,
    schedule="constant",
    warmup=0.0,
    ema_ramp=False,
    joint_forward=False,
    weak=WeakView(padding=8, crop_probability=0.5),
    evaluations=20,
)
"""The training settings in the public code of Ada-CM (aca2b35) and LEAF (7873d3a), with Ada-CM's number of steps."""

RATIO_V1 = Protocol(
    name="ratio-v1",
    purpose="the standard: a share of each class is labeled, the rest of the training set is unlabeled",
    budget="ratio",
    ratios=("0.01", "0.05", "0.1", "0.25", "1"),
    recipes=RECIPES,
)

RATIO_V2 = Protocol(
    name="ratio-v2",
    purpose="ratio-v1 with the papers' weak crop, and an order of unlabeled images that reveals nothing of their class",
    draft=True,
    budget="ratio",
    ratios=RATIO_V1.ratios,
    pool_order="rank",
    recipes={family: recipe.model_copy(update={"weak": PAPERS_CROP}) for family, recipe in RECIPES.items()},
)

EXTERNAL_V1 = Protocol(
    name="external-v1",
    purpose="labels as in ratio-v1, with unlabeled images from another dataset, such as one for face recognition",
    budget="ratio",
    ratios=RATIO_V1.ratios,
    needs_pool=True,
    recipes=RECIPES,
)

COUNT_V1 = Protocol(
    name="count-v1",
    purpose="a number of labels, spread as in the papers: N in total, or m per class; the rest is unlabeled",
    budget="count",
    counts=(100, 400, 1000, 2000, 4000),
    per_class=(10, 25, 100, 250),
    allocations=("balanced", "adacm", "leaf"),
    recipes=RECIPES,
)

PAPERS_V1 = Protocol(
    name="papers-v1",
    purpose="training as in the papers, to reproduce their numbers: RAF-DB, on a GPU, with face-recognition weights",
    budget="count",
    counts=COUNT_V1.counts,
    allocations=("adacm", "leaf", "balanced"),
    recipes={"default": PAPERS},
)

SUBJECT_FOLDS_V1 = Protocol(
    name="subject-folds-v1",
    purpose="for datasets with few subjects: ten folds, each tested once; labels are a share of the other folds",
    budget="ratio",
    # Such datasets have a few hundred images, so 1 % would give the same as 5 %: one image per class.
    ratios=("0.05", "0.1", "0.25", "1"),
    folds=10,
    seeds=tuple(range(10)),
    recipes=RECIPES,
)

ABAW_EXPR_V1 = Protocol(
    name="abaw-expr-v1",
    purpose="the EXPR task of the ABAW challenges: video frames, labels drawn by video, macro-F1",
    budget="ratio",
    ratios=RATIO_V1.ratios,
    rank_groups="video",
    headline="macro_f1",
    recipes={"default": FER_GPU},
)
