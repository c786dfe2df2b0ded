"""The backbone of the built-in recipes for methods that mask patches: a vision transformer for 48 px on a CPU."""

from timm.models.vision_transformer import VisionTransformer

from ferbench.builtin.backbones.timm_adapter import TimmViT, fill
from ferbench.contract.backbone import BackboneRequest
from ferbench.errors import UsageError

PATCH = 8  # pixels
DEPTH = 4
HEAD_SIZE = 32


def build(request: BackboneRequest) -> TimmViT:
    """`small-vit` has width 64; `small-vit/96` has width 96.

    Patches of 8 px, 4 blocks, heads of 32, the mean of the tokens as features. Raises UsageError for a width or an
    image size that cannot be.
    """
    if isinstance(request.init, str):
        raise UsageError(f"small-vit has no weights at a hub (--init {request.init}); name a file or omit --init")
    variant = request.variant or "64"
    if not (variant.isascii() and variant.isdecimal()) or int(variant) < HEAD_SIZE or int(variant) % HEAD_SIZE:
        raise UsageError(f"small-vit/{variant}: the width must be a multiple of {HEAD_SIZE}; try small-vit/64")
    if request.image_size % PATCH:
        raise UsageError(
            f"small-vit cuts images into patches of {PATCH} px; image_size {request.image_size} does not fit"
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
