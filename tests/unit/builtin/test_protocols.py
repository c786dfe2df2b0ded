"""What the protocols of the core fix: the papers' recipe against the facts of their code, and what is a draft."""

import pytest

from ferbench.builtin.protocols import COUNT_V1, PAPERS_V1, RATIO_V1, RATIO_V2
from ferbench.discovery.loader import builtin_protocols, builtin_registry
from ferbench.discovery.registry import DRAFT
from ferbench.training.optimization import learning_rate, make_optimizer
from ferbench.training.stages import steps_per_epoch

# Ada-CM, `aca2b35`; LEAF, `7873d3a`, has the same but twice the steps.
OF_THE_PAPERS = {
    "backbone": "timm/resnet18",
    "image_size": 224,
    "stored_size": 100,
    "steps": 20 * 800,
    "labeled_batch": 16,
    "unlabeled_batch": 16,
    "optimizer": "adam",
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "schedule": "constant",
    "ema_decay": 0.999,
    "ema_ramp": False,
    "joint_forward": False,
    "weak": {"padding": 8, "padding_share": 0.0, "crop_probability": 0.5, "flip_probability": 0.5},
    "strong": {"operations": 3, "cutout": 0.5},
    "evaluations": 20,
}


def test_the_papers_recipe_is_that_of_their_code() -> None:
    recipe = PAPERS_V1.recipe_for("raf-db")
    values = recipe.model_dump()
    assert {name: values[name] for name in OF_THE_PAPERS} == OF_THE_PAPERS
    assert {learning_rate(recipe, step, recipe.steps) for step in (0, 1, 8000, 15_999)} == {5e-4}, "no warm-up"
    assert make_optimizer([{"params": []}], recipe).defaults["betas"] == (0.9, 0.999)
    assert steps_per_epoch(recipe.steps) == 800, "an epoch is the papers' epoch"
    assert PAPERS_V1.allocations[0] == "adacm"
    assert not PAPERS_V1.draft


@pytest.mark.parametrize(("width", "padding"), [(224, 8), (112, 4), (48, 2)])
def test_the_crop_of_the_draft_is_the_papers_at_every_size(width: int, padding: int) -> None:
    for recipe in RATIO_V2.recipes.values():
        assert recipe.weak.pixels_of_padding(width) == padding
        assert recipe.weak.crop_probability == 0.5


def test_the_draft_is_ratio_v1_but_for_crop_and_order() -> None:
    differing = {"name", "purpose", "draft", "pool_order", "recipes"}
    one, other = (protocol.model_dump(exclude=differing) for protocol in (RATIO_V1, RATIO_V2))
    assert one == other
    assert (RATIO_V2.draft, RATIO_V2.pool_order) == (True, "rank")
    for family, recipe in RATIO_V2.recipes.items():
        assert recipe.model_copy(update={"weak": None}) == RATIO_V1.recipes[family].model_copy(update={"weak": None})


def test_lists_say_of_drafts_and_of_nothing_else_that_they_are_drafts() -> None:
    entries = builtin_registry().entries["protocols"]
    assert {name: protocol.draft for name, protocol in builtin_protocols().items()} == {
        name: entry.summary.startswith(DRAFT) for name, entry in entries.items()
    }


def test_protocols_of_before_store_images_as_the_net_sees_them_and_keep_their_order() -> None:
    for protocol in (RATIO_V1, COUNT_V1, *builtin_protocols().values()):
        if protocol.name not in ("papers-v1", "ratio-v2"):
            assert protocol.recorded.keys() <= {"folds"}
            assert {recipe.stored_size for recipe in protocol.recipes.values()} == {None}
