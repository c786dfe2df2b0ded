"""Heads turn features into logits; as plugins they combine with any method (`--head leaf`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Output:
    """The output of the net for B images: logits (B, C), features (B, D), an auxiliary loss, and values for reports.

    An entry of `extras` is (B, n) or (B,), with one row per image. Its mean over the images that were forwarded with
    gradient in an epoch appears in history and report. `maps` are the backbone's feature maps by name, (B, C, H, W)
    each, if it has any.
    """

    logits: Tensor
    features: Tensor
    aux_loss: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def probabilities(self) -> Tensor:
        """The softmax of the logits, (B, C)."""
        return self.logits.softmax(-1)


class Head(nn.Module):
    """Base class: implement `forward(features) -> Output`; the engine adds `aux_loss` to the method's total.

    A head with `uses_maps` is called as `head(features, maps)`, with the backbone's feature maps by name.
    """

    uses_maps: ClassVar[bool] = False

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__()
        self.feature_size = feature_size
        self.n_classes = n_classes

    def forward(self, features: Tensor) -> Output:
        """Map features (B, D) to an `Output`."""
        raise NotImplementedError


class LinearHead(Head):
    """The standard head: one linear layer on the pooled features, after dropout if it is above 0."""

    def __init__(self, feature_size: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(feature_size, n_classes)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.linear = nn.Linear(feature_size, n_classes)

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(self.dropout(features)), features)
