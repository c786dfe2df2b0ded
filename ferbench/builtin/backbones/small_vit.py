"""A small vision transformer for 48 px on a CPU, for methods that mask patches."""

from timm.models.vision_transformer import VisionTransformer

from ferbench.builtin.backbones.timm_adapter import TimmViT, fill
from ferbench.contract.backbone import BackboneRequest
from ferbench.errors import UsageError

PATCH = 8  # pixels
DEPTH = 4
HEAD_SIZE = 32


def build(request: BackboneRequest) -> TimmViT:
    """Build the net of a request: `small-vit` has width 64, `small-vit/96` has width 96.

    It has patches of 8 px, 4 blocks, and heads of size 32; the features are the mean of the tokens. Raises UsageError
    for an invalid width, an image size that does not fit, or `--init hub`.
    """
    if isinstance(request.init, str):
        raise UsageError(f"small-vit has no weights on a hub (--init {request.init}); name a file or omit --init")
    variant = request.variant or "64"
    if not (variant.isascii() and variant.isdecimal()) or int(variant) < HEAD_SIZE or int(variant) % HEAD_SIZE:
        raise UsageError(f"small-vit/{variant}: the width must be a multiple of {HEAD_SIZE}; try small-vit/64")
    if request.image_size % PATCH:
        raise UsageError(
            f"small-vit cuts images into patches of {PATCH} px, so image_size {request.image_size} must be a multiple "
            f"of {PATCH}"
        )
    width = int(variant)
    model = VisionTransformer(
        img_size=request.image_size,
        patch_size=PATCH,
        embed_dim=width,
        depth=DEPTH,
        num_heads=width // HEAD_SIZE,
        class_token=False,
        global_pool="avg",
        num_classes=0,
    )
    backbone = TimmViT(model, request.image_size)
    if request.init is not None:
        fill(backbone, request.init)
    return backbone
