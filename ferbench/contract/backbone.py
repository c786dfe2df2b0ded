"""Backbones turn images into features."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from ferbench.contract.counting import count_forward
from ferbench.contract.head import Head, Output
from ferbench.contract.weights import Match
from ferbench.errors import UsageError


@dataclass(frozen=True)
class BackboneRequest:
    """The request to a builder: the part of the name after the slash (`timm/resnet18`), pixels, initial weights.

    `init` is None for random weights, the path of a local file (which `ferbench.weights.load_weights` reads), or
    `"hub"` if the user asked for it.
    """

    variant: str
    image_size: int
    init: Path | str | None = None


@dataclass(frozen=True)
class Features:
    """What a backbone may return instead of a tensor: pooled features (B, D), and maps (B, C, H, W) by name."""

    pooled: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)


class Backbone(nn.Module):
    """Maps normalised images (B, 3, S, S) float to features (B, `feature_size`).

    `mean` and `std` are the RGB normalisation, in 0..1, that the weights expect. The record counts the images of every
    call.
    """

    feature_size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    init_match: Match | None = None
    """How the file of initial weights fits, as returned by `ferbench.weights.load_weights`; a run reports it."""

    def forward(self, images: Tensor) -> Tensor | Features:
        """Map images (B, 3, S, S) to pooled features (B, D), alone or with named maps."""
        raise NotImplementedError

    def __call__(self, *inputs: Any, **more: Any) -> Any:
        count_forward(inputs[0] if inputs else more["images"])
        return super().__call__(*inputs, **more)


class TokenBackbone(Backbone):
    """A backbone that cuts images into patches and can encode a subset of them (a ViT), as masked autoencoders need.

    There are L = `grid` x `grid` patches with sides of `patch_size` pixels, numbered row by row; `token_size` is D.
    """

    patch_size: int
    grid: int
    token_size: int

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) and patch numbers `kept` (B, K) int64 to tokens (B, K, D), in their order.

        Other patches have no influence. The tokens are those after the last norm, without the class token.
        """
        raise NotImplementedError


class Network(nn.Module):
    """A backbone with a head: the part of a method that EMA averages, that is evaluated and that is saved."""

    probed = False
    """Whether forwards are only probes, as in `Method.probing`; an attribute, because a compiled loss can set it."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a backbone without trainable parameters stays in evaluation mode, so BatchNorm is unchanged."""
        super().train(mode)
        if mode and not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Output | Tensor:
        """Map normalised images (B, 3, S, S) to the head's `Output`, whose logits and features are always float32.

        If `kept` (B, K) is given, return the tokens of these patches, like `encode`.
        """
        if kept is not None:
            count_forward(images)
            return token_backbone(self.backbone).encode(images, kept)
        given: Tensor | Features = self.backbone(images)
        features = given if isinstance(given, Features) else Features(given)
        uses_maps = self.head.uses_maps
        output: Output = self.head(features.pooled, features.maps) if uses_maps else self.head(features.pooled)
        return replace(
            output, logits=output.logits.float(), features=output.features.float(), maps=output.maps or features.maps
        )

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Call `TokenBackbone.encode`; raises UsageError, with a remedy, if the backbone has no tokens."""
        tokens: Tensor = self(images, kept)  # through `__call__`, whose hooks note every forward
        return tokens


def token_backbone(backbone: nn.Module, name: str = "") -> TokenBackbone:
    """Return the backbone if it can encode a subset of its patches; raises UsageError if it cannot."""
    if not isinstance(backbone, TokenBackbone):
        what = f"backbone '{name}'" if name else type(backbone).__name__
        raise UsageError(
            f"{what} has no patches, but this method masks patches; choose a ViT, such as --backbone small-vit or "
            "--backbone timm/vit_base_patch16_224"
        )
    return backbone
