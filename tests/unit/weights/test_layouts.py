"""Architectures by the names that published code gives to tensors."""

import pytest

from ferbench.weights import layout_of


def ir(body: list[tuple[str, int]], se: bool = False) -> dict[str, tuple[int, ...]]:
    """face.evoLVe's names: `body.0.res_layer.1.weight`."""
    shapes: dict[str, tuple[int, ...]] = {"input_layer.0.weight": (64, 3, 3, 3), "output_layer.3.weight": (512, 25088)}
    for name, units in body:
        for unit in range(units):
            shapes[f"{name}.{unit}.res_layer.0.weight"] = (64,)
            shapes[f"{name}.{unit}.res_layer.1.weight"] = (64, 64, 3, 3)
            if se:
                shapes[f"{name}.{unit}.res_layer.5.fc1.weight"] = (4, 64, 1, 1)
    return shapes


def residual(stages: tuple[int, ...], *, bottleneck: bool = False, prelu: bool = False) -> dict[str, tuple[int, ...]]:
    """torchvision's names, or insightface's with `prelu`."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (8631, 512)}
    for stage, blocks in enumerate(stages, 1):
        for block in range(blocks):
            start = f"layer{stage}.{block}"
            shapes[f"{start}.conv1.weight"] = (64, 64, 1, 1) if bottleneck else (64, 64, 3, 3)
            shapes[f"{start}.conv2.weight"] = (64, 64, 3, 3)
            if bottleneck:
                shapes[f"{start}.conv3.weight"] = (256, 64, 1, 1)
            if prelu:
                shapes[f"{start}.prelu.weight"] = (64,)
    return shapes


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
@pytest.mark.parametrize(
    ("shapes", "name", "backbone"),
    [
        (residual((2, 2, 2, 2)), "ResNet-18 ", "timm/resnet18"),
        (residual((3, 4, 6, 3)), "ResNet-34 ", "timm/resnet34"),
        (residual((3, 4, 6, 3), bottleneck=True), "ResNet-50 ", "timm/resnet50"),
        (residual((1, 1, 1, 1)), "a residual net with 1-1-1-1 blocks", ""),
        (residual((2, 2, 2, 2)) | {"conv1.weight": (64, 3, 3, 3)}, "ResNet-18 with a stem of 3x3", ""),
        (residual((3, 4, 14, 3), prelu=True), "iresnet50 ", ""),
        (ir([("body", 24)]), "IR-50 ", ""),
        (ir([("body", 24)], se=True), "IR-SE-50 ", ""),
        (ir([("body1", 3), ("body2", 4), ("body3", 14)]), "IR-50 without its last stage", ""),
        ({"conv_23.conv_dw.conv.weight": (128, 1, 3, 3)}, "MobileFaceNet", ""),
        ({"dw_conv1.conv.weight": (64, 1, 3, 3)}, "MobileFaceNet", ""),
    ],
)
def test_a_layout_is_known_whatever_stands_before_it(
    shapes: dict[str, tuple[int, ...]], name: str, backbone: str, prefix: str
) -> None:
    found = layout_of({prefix + key: shape for key, shape in shapes.items()} | {"classifier.weight": (7, 512)})
    assert found is not None
    assert found.name.startswith(name)
    assert found.backbone == backbone
    assert ("no backbone of ferbench" in found.advice()) == (not backbone)


def test_what_is_not_known_has_no_layout() -> None:
    assert layout_of({"features.0.weight": (64, 3, 3, 3)}) is None


@pytest.mark.parametrize("name", ["patch_embed.proj.weight", "layer1.0.conv1.weight", "body.0.res_layer.1.weight"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 0)])
def test_a_name_without_its_shape_does_no_harm(name: str, shape: tuple[int, ...]) -> None:
    found = layout_of({name: shape, "conv1.weight": shape})
    assert found is None or not found.backbone
