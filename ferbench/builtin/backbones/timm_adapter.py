"""Every timm image classifier by name, through one adapter: `--backbone timm/resnet18`."""

import math
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import timm
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ferbench.blocks import take_tokens
from ferbench.contract.backbone import Backbone, BackboneRequest, TokenBackbone
from ferbench.errors import UsageError, suggestion
from ferbench.weights import load_weights


class TimmBackbone(Backbone):
    """A timm model without its classifier; images are resized to `input_size` if the architecture fixes their size."""

    def __init__(self, model: torch.nn.Module, image_size: int, input_size: int | None = None) -> None:
        super().__init__()
        self.model, self._input_size = model, input_size
        config: dict[str, Any] = getattr(self.model, "pretrained_cfg", {})
        self.mean = tuple(config.get("mean", self.mean))
        self.std = tuple(config.get("std", self.std))
        # Some families have a hidden layer before the classifier, so num_features is not the size of their output.
        with torch.no_grad():
            self.feature_size = int(self.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1])
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        if self._input_size is not None:
            images = F.interpolate(images, self._input_size, mode="bilinear", antialias=True, align_corners=False)
        return self.model(images)


class TimmViT(TimmBackbone, TokenBackbone):
    """A timm ViT that is built for the size of the images."""

    model: VisionTransformer

    def __init__(self, model: VisionTransformer, image_size: int) -> None:
        super().__init__(model, image_size)
        self.patch_size = int(model.patch_embed.patch_size[0])
        self.grid = image_size // self.patch_size
        self.token_size = int(model.embed_dim)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        # Like VisionTransformer.forward before it pools, but with only the kept patches after the prefix tokens.
        model, prefix = self.model, self.model.num_prefix_tokens
        tokens = model._pos_embed(model.patch_embed(images))
        tokens = torch.cat([tokens[:, :prefix], take_tokens(tokens[:, prefix:], kept)], 1)
        tokens = model.norm(model.blocks(model.norm_pre(tokens)))
        return model.fc_norm(tokens[:, prefix:])


def _create(name: str, image_size: int, options: dict[str, Any]) -> tuple[torch.nn.Module, int | None]:
    fixed = timm.get_pretrained_cfg(name)
    if not (fixed and fixed.fixed_input_size):
        return timm.create_model(name, **options), None
    try:
        return timm.create_model(name, img_size=image_size, **options), None
    except (TypeError, AssertionError, ValueError, RuntimeError):
        return timm.create_model(name, **options), int(fixed.input_size[-1])


def build(request: BackboneRequest) -> TimmBackbone:
    """Build the net of a request; raises UsageError for an unknown model, DataError for weights that do not fit."""
    if not timm.is_model(request.variant):
        hint = suggestion(request.variant, timm.list_models(), before="timm/")
        raise UsageError(f"backbone 'timm/{request.variant}': timm {timm.__version__} has no such model{hint}")
    options = {"pretrained": request.init == "hub", "num_classes": 0, "in_chans": 3}
    model, input_size = _create(request.variant, request.image_size, options)
    if input_size is None and _is_cut_into_patches(model, request.image_size):
        backbone: TimmBackbone = TimmViT(model, request.image_size)
    else:
        backbone = TimmBackbone(model, request.image_size, input_size)
    if isinstance(request.init, Path):
        fill(backbone, request.init)
    return backbone


def _is_cut_into_patches(model: torch.nn.Module, image_size: int) -> TypeGuard[VisionTransformer]:
    """Whether each token is computed from its own patch of pixels, which no other token sees."""
    if not isinstance(model, VisionTransformer) or type(model.patch_embed) is not PatchEmbed:
        return False
    return all(image_size % side == 0 for side in model.patch_embed.patch_size)


def fill(backbone: TimmBackbone, path: Path) -> None:
    """Load initial weights from a file; tensors of a classifier in it are not used."""
    model = backbone.model
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    backbone.init_match = load_weights(model, path, adapt=partial(_resized, model), classifier=names)


def _resized(model: torch.nn.Module, name: str, theirs: Tensor, mine: Tensor) -> tuple[Tensor, str] | None:
    """Interpolate position embeddings of square images of another size; return None for anything else."""
    if name != "pos_embed" or not isinstance(model, VisionTransformer) or theirs.shape[::2] != mine.shape[::2]:
        return None
    prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    side, new = math.isqrt(max(0, theirs.shape[1] - prefix)), list(model.patch_embed.grid_size)
    if not side or side * side + prefix != theirs.shape[1]:
        return None
    made = resample_abs_pos_embed(theirs, new_size=new, num_prefix_tokens=prefix)
    return made, f"is interpolated from {side}x{side} to {new[0]}x{new[1]} patches, as in timm"
