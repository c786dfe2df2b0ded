"""Every timm image classifier by name, through one adapter: `--backbone timm/resnet18`."""

from pathlib import Path
from typing import Any, TypeGuard

import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ferbench.blocks import take_tokens
from ferbench.contract.backbone import Backbone, BackboneRequest, TokenBackbone
from ferbench.errors import DataError, UsageError, suggestion


class TimmBackbone(Backbone):
    """A timm model without its classifier; images are resized to `input_size` where the architecture fixes it."""

    def __init__(self, model: torch.nn.Module, image_size: int, input_size: int | None = None) -> None:
        super().__init__()
        self.model, self._input_size = model, input_size
        config: dict[str, Any] = getattr(self.model, "pretrained_cfg", {})
        self.mean = tuple(config.get("mean", self.mean))
        self.std = tuple(config.get("std", self.std))
        # Some families put a hidden layer before the classifier, so num_features is not what they return.
        with torch.no_grad():
            self.feature_size = int(self.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1])
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        if self._input_size is not None:
            images = F.interpolate(images, self._input_size, mode="bilinear", antialias=True, align_corners=False)
        return self.model(images)


class TimmViT(TimmBackbone, TokenBackbone):
    """A timm ViT that is built for the images' size."""

    model: VisionTransformer

    def __init__(self, model: VisionTransformer, image_size: int) -> None:
        super().__init__(model, image_size)
        self.patch_size = int(model.patch_embed.patch_size[0])
        self.grid = image_size // self.patch_size
        self.token_size = int(model.embed_dim)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        # What VisionTransformer.forward does before it pools, with the kept patches alone behind the prefix tokens.
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
    """The backbone of a request; raises UsageError for an unknown model, DataError for weights that do not fit."""
    if not timm.is_model(request.variant):
        hint = suggestion(request.variant, timm.list_models())
        raise UsageError(f"backbone 'timm/{request.variant}': timm {timm.__version__} has no such model{hint}")
    options = {"pretrained": request.init == "hub", "num_classes": 0, "in_chans": 3}
    model, input_size = _create(request.variant, request.image_size, options)
    if input_size is None and _is_cut_into_patches(model, request.image_size):
        backbone: TimmBackbone = TimmViT(model, request.image_size)
    else:
        backbone = TimmBackbone(model, request.image_size, input_size)
    if isinstance(request.init, Path):
        _load_weights(backbone.model, request.init)
    return backbone


def _is_cut_into_patches(model: torch.nn.Module, image_size: int) -> TypeGuard[VisionTransformer]:
    """Whether a token is a patch of pixels that no other token has seen."""
    if not isinstance(model, VisionTransformer) or type(model.patch_embed) is not PatchEmbed:
        return False
    return all(image_size % side == 0 for side in model.patch_embed.patch_size)


def _load_weights(model: torch.nn.Module, path: Path) -> None:
    """Weights from a local file, never unpickled into code; the classifier's own weights may be there and are left."""
    state: Any
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own and pickle's errors for a damaged or foreign file
        raise DataError(
            f"{path}: not a weights file that can be read safely ({error}); save a plain state dict"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path}: not a state dict of tensors; save model.state_dict()")
    state = {key.removeprefix("module."): value for key, value in state.items()}
    wrong = [key for key, value in model.state_dict().items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise DataError(f"{path}: lacks {len(wrong)} of the net's tensors or has other shapes (first: {wrong[0]})")
    model.load_state_dict({key: state[key] for key in model.state_dict()})
