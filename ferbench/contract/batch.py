"""What a method receives and returns at each step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ferbench.contract.head import Output
from ferbench.errors import PluginError


@dataclass(frozen=True)
class ViewSpec:
    """A view that a method asks for; the protocol defines `weak` and `strong`.

    `kind` is the registered name of a view, and `options` are the further arguments of its function. A view without
    `gradient` is forwarded separately and not learned from: it does not even change BatchNorm's statistics. A view for
    the `teacher` is forwarded only by the teacher, in evaluation mode and without gradient.
    """

    kind: str
    gradient: bool = True
    teacher: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def view(kind: str, *, gradient: bool = True, teacher: bool = False, **options: Any) -> ViewSpec:
    """Ask for a view by its registered name, from the core or a plugin: `view("simclr-colour", strength=0.5)`."""
    return ViewSpec(kind, gradient, teacher, options)


def weak(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """Ask for the protocol's weak view: random crop with padding, and horizontal flip."""
    return ViewSpec("weak", gradient, teacher)


def strong(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """Ask for the protocol's strong view: RandAugment and cutout, then the weak view."""
    return ViewSpec("strong", gradient, teacher)


def plain(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """Ask for the image without augmentation, at the size of the net's input, as in evaluation."""
    return ViewSpec("plain", gradient, teacher)


View = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""A function of images (B, S, S, 3) uint8, boxes (B, 4) float32 in pixels of the images, and a generator.

It returns the views (B, T, T, 3) uint8 and their boxes in pixels of the views. S is the recipe's `image_size`; T may
differ from it. The generator is on the CPU: draw there, then move the numbers with
`.to(images.device, non_blocking=True)`. A plugin registers a function `(recipe, **options) -> View` for each view.
"""


@dataclass(frozen=True)
class Views:
    """The views of labeled and of unlabeled images that a method needs, by name; two may have the same kind."""

    labeled: Mapping[str, ViewSpec]
    unlabeled: Mapping[str, ViewSpec] | None = None

    def __post_init__(self) -> None:
        for side, views in (("labeled", self.labeled), ("unlabeled", self.unlabeled or {})):
            if not (isinstance(views, Mapping) and all(isinstance(spec, ViewSpec) for spec in views.values())):
                raise PluginError(
                    f"Views: {side} is {views!r}; give a dict of names to weak(), strong(), plain() or view(...)"
                )


@dataclass(frozen=True)
class ViewSet:
    """B images under each view.

    `images[view]` is (B, 3, S, S) float, normalised, where S is the size of the view. `index` (B,) int64 is the
    position in the pool. `boxes[view]` is (B, 4) float32: the face as x0, y0, x1, y1 in pixels of that view. Only
    methods that require `"boxes"` get boxes; for others this raises PluginError.
    """

    images: Mapping[str, Tensor]
    index: Tensor
    boxes: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """One step's data, already on the device.

    `labels` (B,) int64 and `label_probs` (B, C) float32 belong to the labeled images; labels of unlabeled images never
    reach a method. `step` (int64, from 0), `progress` (float32, 0 to 1 over the stage) and `learning_rate` (float32)
    are scalar tensors, so that a ramp needs no host synchronisation.
    """

    labeled: ViewSet
    unlabeled: ViewSet | None
    labels: Tensor
    label_probs: Tensor
    step: Tensor
    progress: Tensor
    learning_rate: Tensor


class Losses:
    """The return value of `Method.loss`: the scalar to minimise, and values for reports.

    `pseudo_label` (B,) int64 and `mask` (B,) float in 0..1 describe the unlabeled images of the batch in order; the
    engine compares them with the true labels, which the method never sees. `terms` are scalar tensors for the curves.
    """

    def __init__(
        self, total: Tensor, *, pseudo_label: Tensor | None = None, mask: Tensor | None = None, **terms: Tensor
    ) -> None:
        if "loss" in terms:
            raise TypeError("Losses: the history uses the name 'loss' for the total; give your term another name")
        if (pseudo_label is None) != (mask is None):
            raise TypeError("Losses: pseudo_label and mask belong together; give both or neither")
        self.total = total
        self.pseudo_label = pseudo_label
        self.mask = mask
        self.terms: dict[str, Tensor] = terms

    def plus(self, auxiliary: Tensor) -> "Losses":
        """Return the same losses with `auxiliary` added to the total."""
        return Losses(self.total + auxiliary, pseudo_label=self.pseudo_label, mask=self.mask, **self.terms)


@dataclass(frozen=True)
class StepInfo:
    """The argument of `Method.after_step`: the batch of the step and its losses.

    `losses.total` includes the head's auxiliary loss; its graph is already freed.
    """

    batch: Batch
    losses: Losses


@dataclass(frozen=True)
class MethodInfo:
    """What a method may know about its task before the first step.

    `class_counts` counts the labeled images of each class, by the labels that the method sees. `n_unlabeled` is None
    for a supervised cell. The `n_validation` images are labeled too, but never in a batch. An epoch is
    `steps_per_epoch` steps, a twentieth of the run, not a pass over the data.
    """

    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    n_labeled: int
    n_unlabeled: int | None
    steps: int
    steps_per_epoch: int
    feature_size: int
    n_validation: int = 0

    @property
    def n_classes(self) -> int:
        """The number of classes, C."""
        return len(self.class_names)


@dataclass(frozen=True)
class PoolPredictions:
    """Logits (N, C) float32, labels (N,) int64 and pool positions (N,) of a pass over labeled or validation images."""

    logits: Tensor
    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class UnlabeledPredictions:
    """Logits (B, C) float32 and positions (B,) int64 of some unlabeled images, on the device; without labels."""

    logits: Tensor
    index: Tensor


class NamedOutputs:
    """The outputs of the views of one set, as attributes: `unlabeled.strong.logits`."""

    def __init__(self, outputs: Mapping[str, Output]) -> None:
        self._outputs = dict(outputs)

    def __getattr__(self, view: str) -> Output:
        outputs: dict[str, Output] = self.__dict__.get("_outputs", {})  # copying calls this before attributes exist
        if view not in outputs:
            raise AttributeError(f"no view '{view}' was forwarded; the forwarded views are {sorted(outputs)}")
        return outputs[view]

    def __getitem__(self, view: str) -> Output:
        return self.__getattr__(view)


class ForwardedViews(NamedTuple):
    """The outputs of a batch: `labeled.<view>` and `unlabeled.<view>` are `Output`s."""

    labeled: NamedOutputs
    unlabeled: NamedOutputs
