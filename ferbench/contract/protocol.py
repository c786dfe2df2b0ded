"""A protocol fixes everything that must be equal for results to be comparable; declarative and versioned."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ferbench.contract.dataset import RankGroups

PoolOrder = Literal["id", "rank"]
Headline = Literal["accuracy", "balanced_accuracy", "macro_f1"]

EPOCHS = 20
"""Number of epochs of every run: an epoch is steps / 20, whatever the method, never a pass over data."""


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeakView(_Declaration):
    """Random crop after zero padding, and horizontal flip."""

    padding: int = Field(4, ge=0, description="pixels of padding on each side")
    padding_share: float = Field(
        0.0, ge=0, le=0.5, description="the same as a part of the width, rounded to pixels; one of the two is 0"
    )
    crop_probability: float = Field(1.0, ge=0, le=1, description="probability of the random crop")
    flip_probability: float = Field(0.5, ge=0, le=1, description="probability of the horizontal flip")

    @model_validator(mode="after")
    def _one_padding(self) -> "WeakView":
        if self.padding and self.padding_share:
            raise ValueError(f"padding {self.padding} and padding_share {self.padding_share}: one of them must be 0")
        return self

    def pixels_of_padding(self, width: int) -> int:
        """Padding on each side of images of a width, in pixels."""
        return self.padding or round(self.padding_share * width)


class StrongView(_Declaration):
    """RandAugment and cutout, then the weak view (facts of FixMatch's, Ada-CM's and LEAF's code)."""

    operations: int = Field(3, ge=1, description="RandAugment operations per image, drawn with replacement from 14")
    cutout: float = Field(0.5, ge=0, le=1, description="largest side of the cutout square, as a part of the width")


TUNABLE = ("optimizer", "learning_rate", "weight_decay", "momentum", "schedule", "warmup")
"""Fields of a recipe that a backbone's tuning may set: none that decides data, steps or batches."""


class Recipe(_Declaration):
    """How a cell is trained: the same for every method of a table."""

    backbone: str = Field(description="name of the backbone")
    image_size: int = Field(ge=8, description="pixels of the net's input")
    stored_size: int | None = Field(
        None,
        ge=8,
        description="pixels of the packed images, where these are resized to image_size as views are made: RandAugment "
        "and cutout act before that, all else after it; none if they are packed at image_size",
    )
    steps: int = Field(ge=1, description="optimizer steps, equal for all methods")
    labeled_batch: int = Field(ge=1, description="labeled images per step")
    unlabeled_batch: int = Field(ge=1, description="unlabeled images per step")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimizer")
    learning_rate: float = Field(gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adamw, L2 for sgd and adam")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, with Nesterov")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="after the warm-up: to 0, or flat")
    warmup: float = Field(0.05, ge=0, lt=1, description="part of the steps with a linear warm-up")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the teacher")
    ema_ramp: bool = Field(True, description="whether ema_decay ramps up as (1 + t) / (10 + t) at step t")
    joint_forward: bool = Field(True, description="gradient views in one forward; decides BatchNorm's statistics")
    weak: WeakView = WeakView()
    strong: StrongView = StrongView()
    evaluations: int = Field(6, ge=1, le=EPOCHS, description="evaluations on the test split, for the oracle only")
    evaluation_batch: int = Field(250, ge=1, description="images per forward in evaluation")

    @model_validator(mode="after")
    def _padding_fits(self) -> "Recipe":
        if self.weak.padding >= self.image_size:
            raise ValueError(f"weak.padding {self.weak.padding} must be below image_size {self.image_size}")
        return self

    @property
    def packed_size(self) -> int:
        """Pixels of the packed images."""
        return self.image_size if self.stored_size is None else self.stored_size

    def is_evaluated(self, step: int, previous: int) -> bool:
        """Whether an epoch from step `previous` to `step` ends with an evaluation; pre-training does not count."""
        due = step * self.evaluations // self.steps
        return step == self.steps or previous * self.evaluations // self.steps < due < self.evaluations


class Validation(_Declaration):
    """A part of the label budget that a method does not train on, for early stopping and tuning."""

    share: float = Field(gt=0, lt=1, description="part of each class's labeled images, rounded down")


class SymmetricNoise(_Declaration):
    """Some labels are replaced by another class, each of the others alike."""

    rate: float = Field(gt=0, lt=1, description="probability that an image's label is another than the true one")


class ConfusionNoise(_Declaration):
    """Labels are what annotators would say: for each true class the probability of every label."""

    confusion: Mapping[str, Mapping[str, float]] = Field(description="true class to label to probability")

    @model_validator(mode="after")
    def _rows_are_distributions(self) -> "ConfusionNoise":
        for name, row in self.confusion.items():
            if min(row.values(), default=-1.0) < 0 or abs(sum(row.values()) - 1) > 1e-6:
                raise ValueError(f"confusion of {name}: probabilities are 0 or more and add up to 1")
        return self


LabelNoise = SymmetricNoise | ConfusionNoise

RECORDED = ("folds", "draft", "pool_order")
"""Fields of a protocol that a record names where they are not the default, beside those of the recipe."""
LABEL_TERMS = ("validation", "label_noise")
"""Fields of a protocol that say what is unusual about its labels."""
EVALUATION_TERMS = ("temporal_window",)
"""Fields that say what is unusual about what is evaluated."""


class Protocol(_Declaration):
    """A named, versioned way to compare methods."""

    name: str
    purpose: str
    draft: bool = Field(False, description="whether it may still change: none of its cells is standard")
    split_rule: str = Field("sha256-v1", description="how ranks are drawn; part of every split's fingerprint")
    budget: Literal["ratio", "count"] = Field(description="labels as a part of the training set, or as a number")
    ratios: tuple[str, ...] = ()
    counts: tuple[int, ...] = Field((), description="numbers of labels in all that belong in its tables")
    per_class: tuple[int, ...] = Field((), description="numbers of labels per class that belong in its tables")
    allocations: tuple[str, ...] = Field(
        ("proportional",), description="ways to spread the labels over the classes; the first is the default"
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    rank_groups: RankGroups = Field("image", description="what a rank is given to")
    folds: int | None = Field(
        None,
        ge=2,
        description="folds of subjects, where seed k tests fold k and the training and test split are joined; "
        "None tests the dataset's own test split",
    )
    pool_order: PoolOrder = Field(
        "id",
        description="order of the unlabeled images before a seed shuffles them: by id, which in folders of classes "
        "tells the class to who reads the trainer's files, or by hash rank, which tells nothing",
    )
    needs_pool: bool = Field(
        False, description="whether methods that use unlabeled images are given a pool by --unlabeled"
    )
    validation: Validation | None = Field(
        None, description="part of the labels that is held out for a method to look at"
    )
    label_noise: LabelNoise | None = Field(None, description="errors in the labels that a method sees; never in tests")
    temporal_window: int | None = Field(
        None,
        ge=3,
        description="number of frames, odd, over which predictions of test frames are averaged before they are scored; "
        "it is fixed here and no option of a run, so that nobody chooses it on test images",
    )
    headline: Headline = Field("accuracy", description="the metric that rows are ordered by and gains are in")
    selection: str = Field("EMA model after the last step", description="which model is evaluated, in words")
    recipes: Mapping[str, Recipe] = Field(description="by family of dataset; `default` for all others")

    @model_validator(mode="after")
    def _each_seed_has_a_fold(self) -> "Protocol":
        if self.folds is not None and self.seeds != tuple(range(self.folds)):
            raise ValueError(f"with {self.folds} folds the seeds are 0 to {self.folds - 1}, not {self.seeds}")
        return self

    @model_validator(mode="after")
    def _validation_is_of_images(self) -> "Protocol":
        if self.validation and self.rank_groups != "image":
            raise ValueError(f"validation is drawn by image; images of one {self.rank_groups} would be on both sides")
        if self.validation and "validation" not in self.selection:
            raise ValueError("selection must say what methods may choose on the validation images")
        return self

    @model_validator(mode="after")
    def _window_is_of_frames(self) -> "Protocol":
        if self.temporal_window is not None and self.temporal_window % 2 == 0:
            raise ValueError(f"temporal_window {self.temporal_window} must be odd: a frame stands in its middle")
        if self.temporal_window is not None and self.rank_groups != "video":
            raise ValueError(f"temporal_window is of frames; labels are drawn by {self.rank_groups}, not by video")
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """Those of `RECORDED` that are not the default, as JSON."""
        return self.model_dump(mode="json", include=set(RECORDED), exclude_defaults=True)

    @property
    def label_terms(self) -> dict[str, Any]:
        """What is unusual about its labels, as JSON: those of `LABEL_TERMS` that it has."""
        return self.model_dump(mode="json", include=set(LABEL_TERMS), exclude_none=True)

    @property
    def evaluation_terms(self) -> dict[str, Any]:
        """What is unusual about what is evaluated, as JSON: those of `EVALUATION_TERMS` that it has."""
        return self.model_dump(mode="json", include=set(EVALUATION_TERMS), exclude_none=True)

    def recipe_for(self, family: str) -> Recipe:
        """The recipe of a family of datasets."""
        return self.recipes.get(family, self.recipes["default"])


def unknown_fields(declared: object) -> list[str]:
    """Fields of a protocol, or of a part of it, that a subclass adds: the core does not know them and would do nothing.

    Each is named with its class, as in `NoisyProtocol.noise_rate`.
    """
    if isinstance(declared, Mapping):
        return [name for value in declared.values() for name in unknown_fields(value)]
    if not isinstance(declared, _Declaration):
        return []
    kind = type(declared)
    known = next(base for base in kind.__mro__ if issubclass(base, _Declaration) and base.__module__ == __name__)
    own = [f"{kind.__name__}.{name}" for name in kind.model_fields if name not in known.model_fields]
    return own + [name for _, value in declared for name in unknown_fields(value)]
