"""Protocols fix everything that must be equal for results to be comparable; they are declarative and versioned."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ferbench.contract.dataset import RankGroups

PoolOrder = Literal["id", "rank"]
Headline = Literal["accuracy", "balanced_accuracy", "macro_f1"]

EPOCHS = 20
"""Number of epochs in every run, whatever the method: an epoch is steps / 20, not a pass over the data."""


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeakView(_Declaration):
    """Random crop after zero padding, and horizontal flip."""

    padding: int = Field(4, ge=0, description="pixels of padding on each side")
    padding_share: float = Field(
        0.0, ge=0, le=0.5, description="padding as a share of the width, rounded to pixels; one of the two must be 0"
    )
    crop_probability: float = Field(1.0, ge=0, le=1, description="probability of the random crop")
    flip_probability: float = Field(0.5, ge=0, le=1, description="probability of the horizontal flip")

    @model_validator(mode="after")
    def _one_padding(self) -> "WeakView":
        if self.padding and self.padding_share:
            raise ValueError(f"padding {self.padding} and padding_share {self.padding_share}: set one of them to 0")
        return self

    def pixels_of_padding(self, width: int) -> int:
        """Return the padding on each side, in pixels, for images of a width."""
        return self.padding or round(self.padding_share * width)


class StrongView(_Declaration):
    """RandAugment and cutout, then the weak view, as in the code of FixMatch, Ada-CM and LEAF."""

    operations: int = Field(3, ge=1, description="RandAugment operations per image, drawn with replacement from 14")
    cutout: float = Field(0.5, ge=0, le=1, description="largest side of the cutout square, as a share of the width")


TUNABLE = ("optimizer", "learning_rate", "weight_decay", "momentum", "schedule", "warmup")
"""Fields of a recipe that a backbone's tuning may set; data, steps and batches are not among them."""


class Recipe(_Declaration):
    """The training settings of a cell; they are equal for all methods in a table."""

    backbone: str = Field(description="name of the backbone")
    image_size: int = Field(ge=8, description="side of the net's input in pixels")
    stored_size: int | None = Field(
        None,
        ge=8,
        description="side of the packed images in pixels, if it differs from image_size; views are then resized to "
        "image_size, RandAugment and cutout act before that, everything else after it",
    )
    steps: int = Field(ge=1, description="optimizer steps, equal for all methods")
    labeled_batch: int = Field(ge=1, description="labeled images per step")
    unlabeled_batch: int = Field(ge=1, description="unlabeled images per step")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimizer")
    learning_rate: float = Field(gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adamw, L2 for sgd and adam")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of sgd")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning rate after the warm-up: cosine decay to 0, or constant"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps with a linear warm-up")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the teacher's moving average")
    ema_ramp: bool = Field(True, description="whether ema_decay ramps up as (1 + t) / (10 + t) at step t")
    joint_forward: bool = Field(
        True, description="whether gradient views share one forward, and so BatchNorm's statistics"
    )
    weak: WeakView = Field(WeakView(), description="the weak view")
    strong: StrongView = Field(StrongView(), description="the strong view")
    evaluations: int = Field(
        6, ge=1, le=EPOCHS, description="number of evaluations on the test split, for the oracle only"
    )
    evaluation_batch: int = Field(250, ge=1, description="images per forward in evaluation")

    @model_validator(mode="after")
    def _padding_fits(self) -> "Recipe":
        if self.weak.padding >= self.image_size:
            raise ValueError(f"weak.padding {self.weak.padding} must be below image_size {self.image_size}")
        return self

    @property
    def packed_size(self) -> int:
        """Side of the packed images in pixels."""
        return self.image_size if self.stored_size is None else self.stored_size

    def is_evaluated(self, step: int, previous: int) -> bool:
        """Whether an epoch from step `previous` to `step` ends with an evaluation; do not count pre-training steps."""
        due = step * self.evaluations // self.steps
        return step == self.steps or previous * self.evaluations // self.steps < due < self.evaluations


class Validation(_Declaration):
    """A part of the label budget that a method does not train on, for early stopping and tuning."""

    share: float = Field(gt=0, lt=1, description="share of each class's labeled images, rounded down")


class SymmetricNoise(_Declaration):
    """Some labels are replaced by another class, all other classes with equal probability."""

    rate: float = Field(gt=0, lt=1, description="probability that an image's label is wrong")


class ConfusionNoise(_Declaration):
    """Labels are drawn like those of annotators: each true class has a probability for every label."""

    confusion: Mapping[str, Mapping[str, float]] = Field(
        description="for each true class, the probability of each label"
    )

    @model_validator(mode="after")
    def _rows_are_distributions(self) -> "ConfusionNoise":
        for name, row in self.confusion.items():
            if min(row.values(), default=-1.0) < 0 or abs(sum(row.values()) - 1) > 1e-6:
                raise ValueError(f"confusion of {name}: probabilities must be at least 0 and add up to 1")
        return self


LabelNoise = SymmetricNoise | ConfusionNoise

RECORDED = ("folds", "draft", "pool_order")
"""Fields of a protocol, besides those of the recipe, that a record names if they are not the default."""
LABEL_TERMS = ("validation", "label_noise")
"""Fields of a protocol for unusual labels."""
EVALUATION_TERMS = ("temporal_window",)
"""Fields of a protocol for an unusual evaluation."""


class Protocol(_Declaration):
    """A named, versioned way to compare methods."""

    name: str = Field(description="the registered name; it ends with the version")
    purpose: str = Field(description="what it compares, in words")
    draft: bool = Field(False, description="whether it may still change; none of its cells is standard then")
    split_rule: str = Field("sha256-v1", description="how ranks are drawn; part of every split's fingerprint")
    budget: Literal["ratio", "count"] = Field(description="labels as a share of the training set, or as a number")
    ratios: tuple[str, ...] = Field((), description="shares of the labels in its tables")
    counts: tuple[int, ...] = Field((), description="total numbers of labels in its tables")
    per_class: tuple[int, ...] = Field((), description="numbers of labels per class in its tables")
    allocations: tuple[str, ...] = Field(
        ("proportional",), description="ways to spread the labels over the classes; the first is the default"
    )
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), description="seeds of a complete row")
    rank_groups: RankGroups = Field("image", description="the unit that gets a rank: images of one unit stay together")
    folds: int | None = Field(
        None,
        ge=2,
        description="number of folds of subjects: training and test split are joined, and seed k tests fold k; "
        "None tests the dataset's own test split",
    )
    pool_order: PoolOrder = Field(
        "id",
        description="order of the unlabeled images before a seed shuffles them: by id, which may reveal the class to "
        "readers of the trainer's files if ids contain class folders, or by hash rank, which reveals nothing",
    )
    needs_pool: bool = Field(
        False, description="whether methods that use unlabeled images need a pool from --unlabeled"
    )
    validation: Validation | None = Field(
        None, description="part of the labels that is held out; a method may evaluate on it"
    )
    label_noise: LabelNoise | None = Field(
        None, description="errors in the labels that a method sees; test labels have none"
    )
    temporal_window: int | None = Field(
        None,
        ge=3,
        description="odd number of frames over which predictions of test frames are averaged before they are scored; "
        "it is not an option of a run, so that nobody can choose it on test images",
    )
    headline: Headline = Field("accuracy", description="the metric by which rows are ordered and gains are measured")
    selection: str = Field("EMA model after the last step", description="which model is evaluated, in words")
    recipes: Mapping[str, Recipe] = Field(description="recipes by family of datasets; `default` for all others")

    @model_validator(mode="after")
    def _each_seed_has_a_fold(self) -> "Protocol":
        if self.folds is not None and self.seeds != tuple(range(self.folds)):
            raise ValueError(f"with {self.folds} folds the seeds must be 0 to {self.folds - 1}, not {self.seeds}")
        return self

    @model_validator(mode="after")
    def _validation_is_of_images(self) -> "Protocol":
        if self.validation and self.rank_groups != "image":
            raise ValueError(f"validation is drawn by image; images of one {self.rank_groups} would be on both sides")
        if self.validation and "validation" not in self.selection:
            raise ValueError(
                f"selection {self.selection!r} must mention 'validation' and say what is chosen on those images"
            )
        return self

    @model_validator(mode="after")
    def _window_is_of_frames(self) -> "Protocol":
        if self.temporal_window is not None and self.temporal_window % 2 == 0:
            raise ValueError(f"temporal_window {self.temporal_window} must be odd, so that a frame is in its middle")
        if self.temporal_window is not None and self.rank_groups != "video":
            raise ValueError(f"temporal_window needs rank_groups 'video', not '{self.rank_groups}'")
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields in `RECORDED` that are not the default, as JSON."""
        return self.model_dump(mode="json", include=set(RECORDED), exclude_defaults=True)

    @property
    def label_terms(self) -> dict[str, Any]:
        """The fields in `LABEL_TERMS` that are set, as JSON."""
        return self.model_dump(mode="json", include=set(LABEL_TERMS), exclude_none=True)

    @property
    def evaluation_terms(self) -> dict[str, Any]:
        """The fields in `EVALUATION_TERMS` that are set, as JSON."""
        return self.model_dump(mode="json", include=set(EVALUATION_TERMS), exclude_none=True)

    def recipe_for(self, family: str) -> Recipe:
        """Return the recipe of a family of datasets."""
        return self.recipes.get(family, self.recipes["default"])


def unknown_fields(declared: object) -> list[str]:
    """Return the fields that a subclass adds to a protocol or a part of it; the core would silently ignore them.

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
