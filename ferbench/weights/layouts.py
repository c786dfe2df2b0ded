"""Recognise the architecture of a state dict by names and shapes of its tensors, for weights published for faces."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """An architecture, with the tensor names of one code base."""

    name: str
    backbone: str = ""
    """The built-in backbone that such weights fit; empty if there is none."""

    def advice(self) -> str:
        """Return what to do with such weights."""
        if self.backbone:
            return f"they fit --backbone {self.backbone}"
        return "no backbone of ferbench has this architecture; a plugin can register one (docs/weights.md)"


RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "18",
    (False, (3, 4, 6, 3)): "34",
    (True, (3, 4, 6, 3)): "50",
    (True, (3, 4, 23, 3)): "101",
    (True, (3, 8, 36, 3)): "152",
}
"""Depths by (has bottleneck blocks, number of blocks per stage)."""
IRESNETS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "18",
    (3, 4, 6, 3): "34",
    (3, 4, 14, 3): "50",
    (3, 13, 30, 3): "100",
}
VITS = {
    (192, 12): ("tiny", (16,)),
    (384, 12): ("small", (8, 16, 32)),
    (768, 12): ("base", (8, 16, 32)),
    (1024, 24): ("large", (16, 32)),
}
"""Names and patch sizes of timm's ViTs by (width, depth)."""


def layout_of(shapes: Shapes) -> Layout | None:
    """Return the layout of a state dict, whatever the prefix of its names; None if it is unknown."""
    for anchor, describe in _LAYOUTS:
        for name in shapes:
            if found := re.fullmatch(rf"(|.*\.){anchor}", name):
                prefix = found[1]
                inner = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
                with suppress(KeyError, IndexError, ValueError):  # it has the names of this layout, but not the shapes
                    return describe(inner)
    return None


def _ir(shapes: Shapes) -> Layout:
    """Backbones of face.evoLVe, and that of POSTER, which divides the body into `body1` to `body3`."""
    units = {name.partition(".res_layer")[0] for name in shapes if ".res_layer." in name}
    kind = "IR-SE" if any(".res_layer.5.fc1." in name for name in shapes) else "IR"
    depth = {21: "-50 without its last stage", 24: "-50", 49: "-101" if kind == "IR" else "-100", 50: "-152"}.get(
        len(units), f" of {len(units)} units"
    )
    return Layout(f"{kind}{depth} (face.evoLVe, POSTER)")


def _iresnet(shapes: Shapes) -> Layout:
    return Layout(f"iresnet{IRESNETS.get(_stages(shapes), '')} (insightface)")


def _mobile_face_net(shapes: Shapes) -> Layout:
    return Layout("MobileFaceNet")


def _facenet(shapes: Shapes) -> Layout:
    return Layout("InceptionResnetV1 (facenet-pytorch)")


def _torchvision_vit(shapes: Shapes) -> Layout:
    return Layout("a ViT with torchvision's names")


def _resnet(shapes: Shapes) -> Layout:
    bottleneck, counts = "layer1.0.conv3.weight" in shapes, _stages(shapes)
    depth, odd = RESNETS.get((bottleneck, counts)), []
    if any(".se." in name for name in shapes):
        odd.append("squeeze-and-excitation")
    if "conv1.weight" not in shapes:
        odd.append("a deep stem")
    elif shapes["conv1.weight"][2:] != (7, 7):
        odd.append(f"a stem of {'x'.join(map(str, shapes['conv1.weight'][2:]))}")
    width = shapes["layer1.0.conv1.weight"][0]
    if width != 64 or shapes["layer1.0.conv1.weight"][1] != 64:
        odd.append(f"width {width}")
    if shapes.get("layer1.0.conv2.weight", (0, width))[1] != width:
        odd.append("groups")
    name = f"ResNet-{depth}" if depth else f"a residual net with {'-'.join(map(str, counts))} blocks"
    if odd:
        return Layout(f"{name} with {', '.join(odd)}")
    return Layout(f"{name} (torchvision, timm, MS-Celeb-1M)", f"timm/resnet{depth}" if depth else "")


def _vit(shapes: Shapes) -> Layout:
    width, _, *patch = shapes["patch_embed.proj.weight"]
    depth = len({name.split(".")[1] for name in shapes if re.match(r"blocks\.\d+\.", name)})
    size, patches = VITS.get((width, depth), ("", ()))
    known = patch[0] == patch[-1] and patch[0] in patches
    decoder = ", with a decoder of masked autoencoding" if "decoder_embed.weight" in shapes else ""
    name = f"ViT of width {width}, depth {depth}, patches of {'x'.join(map(str, patch))} px{decoder}"
    return Layout(name, f"timm/vit_{size}_patch{patch[0]}_224" if known else "")


def _stages(shapes: Shapes) -> tuple[int, ...]:
    """Return the number of blocks in `layer1`, `layer2`, ..."""
    blocks = {found.groups() for name in shapes if (found := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = sorted({int(stage) for stage, _ in blocks})
    return tuple(sum(int(each) == stage for each, _ in blocks) for stage in stages)


# For each layout, the name of a tensor that only it has, and a function that describes the rest; more specific first.
_LAYOUTS: tuple[tuple[str, Callable[[Shapes], Layout]], ...] = (
    (r"body1?\.0\.res_layer\.1\.weight", _ir),
    (r"layer1\.0\.prelu\.weight", _iresnet),
    (r"conv_23\.conv_dw\.conv\.weight", _mobile_face_net),
    (r"dw_conv1\.conv\.weight", _mobile_face_net),
    (r"conv2d_1a\.conv\.weight", _facenet),
    (r"encoder\.layers\.encoder_layer_0\.self_attention\.in_proj_weight", _torchvision_vit),
    (r"layer1\.0\.conv1\.weight", _resnet),
    (r"patch_embed\.proj\.weight", _vit),
)
