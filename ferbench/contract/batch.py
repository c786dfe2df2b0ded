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
    """A view that a method asks for; what `weak` and `strong` mean is the protocol's to say.

    `kind` is the registered name of a view, `options` what its function is given beside. Without `gradient` the net
    predicts the view apart: nothing is learned from it, BatchNorm's statistics included. A view for the `teacher` goes
    through the teacher alone, in evaluation mode and without gradient.
    """

    kind: str
    gradient: bool = True
    teacher: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def view(kind: str, *, gradient: bool = True, teacher: bool = False, **options: Any) -> ViewSpec:
    """A view by its registered name, of the core or of a plugin: `view("simclr-colour", strength=0.5)`."""
    return ViewSpec(kind, gradient, teacher, options)


def weak(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """The protocol's weak view: random crop with padding and horizontal flip."""
    return ViewSpec("weak", gradient, teacher)


def strong(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """The protocol's strong view: RandAugment and cutout, then the weak view."""
    return ViewSpec("strong", gradient, teacher)


def plain(*, gradient: bool = True, teacher: bool = False) -> ViewSpec:
    """The image itself, at the size of the net's input, as evaluation sees it."""
    return ViewSpec("plain", gradient, teacher)


View = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Images (B, S, S, 3) uint8, boxes (B, 4) float32 in their pixels, and a generator to the view of each image: (B, T, T,
3) uint8, of the same or another size, and its boxes in its own pixels. S is the recipe's `image_size`.

The generator is the CPU's: draw there and move what was drawn with `.to(images.device, non_blocking=True)`. What is
registered under a view's name is a function `(recipe, **options) -> View`.
"""


@dataclass(frozen=True)
class Views:
    """The views of labeled and of unlabeled images that a method needs, by name; two may be of one kind."""

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

    `images[view]` is (B, 3, S, S) float, normalised, S that of the view; `index` (B,) int64 is the position in the
    pool; `boxes[view]` is (B, 4) float32, the face as x0, y0, x1, y1 in pixels of that view.
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
    """What `Method.loss` returns: the scalar to minimise, and what reports show.

    `pseudo_label` (B,) int64 and `mask` (B,) float in 0..1 describe the unlabeled images of the batch in their order;
    the engine compares them with the truth, which the method never sees. `terms` are scalar tensors for the curves.
    """

    def __init__(
        self, total: Tensor, *, pseudo_label: Tensor | None = None, mask: Tensor | None = None, **terms: Tensor
    ) -> None:
        if "loss" in terms:
            raise TypeError("Losses: the term 'loss' is the total's name in the history; give yours another")
        if (pseudo_label is None) != (mask is None):
            raise TypeError("Losses: pseudo_label and mask belong together; give both or neither")
        self.total = total
        self.pseudo_label = pseudo_label
        self.mask = mask
        self.terms: dict[str, Tensor] = terms

    def plus(self, auxiliary: Tensor) -> "Losses":
        """The same with something added to the total."""
        return Losses(self.total + auxiliary, pseudo_label=self.pseudo_label, mask=self.mask, **self.terms)


@dataclass(frozen=True)
class StepInfo:
    """What `Method.after_step` is told: the batch of the step and the losses that it has minimised.

    `losses.total` has the head's auxiliary loss in it; its graph is gone.
    """

    batch: Batch
    losses: Losses


@dataclass(frozen=True)
class MethodInfo:
    """What a method may know of its task before the first step.

    `class_counts` are of the labeled set, by the labels that the method sees; `n_unlabeled` is None for a supervised
    cell; `n_validation` images are labeled too and are never in a batch. An epoch is `steps_per_epoch` steps, a
    twentieth of the run, never a pass over data.
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
        """C."""
        return len(self.class_names)


@dataclass(frozen=True)
class PoolPredictions:
    """Logits (N, C) float32, labels (N,) int64 and pool positions (N,) of a pass over labeled or validation images."""

    logits: Tensor
    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class UnlabeledPredictions:
    """Logits (B, C) float32 and positions (B,) int64 of some images of the unlabeled pool, on the device; no labels."""

    logits: Tensor
    index: Tensor


class NamedOutputs:
    """The outputs of the views of one set, as attributes: `unlabeled.strong.logits`."""

    def __init__(self, outputs: Mapping[str, Output]) -> None:
        self._outputs = dict(outputs)

    def __getattr__(self, view: str) -> Output:
        outputs: dict[str, Output] = self.__dict__.get("_outputs", {})  # a copy is asked before it has any
        if view not in outputs:
            raise AttributeError(f"no view '{view}' was forwarded; there are {sorted(outputs)}")
        return outputs[view]

    def __getitem__(self, view: str) -> Output:
        return self.__getattr__(view)


class ForwardedViews(NamedTuple):
    """The outputs of a batch: `labeled.<view>` and `unlabeled.<view>` are `Output`s."""

    labeled: NamedOutputs
    unlabeled: NamedOutputs
