"""Backbones by name: the small net, timm's, and weights from files that nobody vouches for."""

import pickle
from pathlib import Path

import pytest
import timm
import torch

from ferbench.contract.backbone import token_backbone
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError, UsageError
from ferbench.execution.build import build_backbone

REGISTRY = load_registry()


@pytest.mark.parametrize(
    "name",
    [
        "small-resnet",
        "small-resnet/8",
        "small-vit",
        "timm/resnet10t",
        "timm/vit_tiny_patch16_224",
        "timm/mobilenetv3_small_050",
    ],
)
def test_features_have_the_promised_size(name: str) -> None:
    backbone = build_backbone(REGISTRY, name, 48, None).eval()
    assert backbone(torch.zeros(2, 3, 48, 48)).shape == (2, backbone.feature_size)


def test_an_architecture_of_fixed_size_gets_its_input_size() -> None:
    """ViT is built for 48 px; a net that cannot be gets resized images."""
    vit = build_backbone(REGISTRY, "timm/vit_tiny_patch16_224", 48, None)
    assert vit.model.pos_embed.shape[1] == 1 + (48 // 16) ** 2  # type: ignore[union-attr, operator, index]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_come_from_a_local_file(tmp_path: Path, suffix: str) -> None:
    import safetensors.torch

    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=5)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path)
    else:
        safetensors.torch.save_file(model.state_dict(), path)
    backbone = build_backbone(REGISTRY, "timm/resnet10t", 48, path)
    assert torch.equal(backbone.model.conv1[0].weight, model.conv1[0].weight)  # type: ignore[union-attr, operator, index]


class Executes:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_a_pickle_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Executes()}, tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Executes(), protocol=2))
    for name in ("evil.pth", "bare.pth"):
        with pytest.raises(DataError, match=name):
            build_backbone(REGISTRY, "timm/resnet10t", 48, tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other\.pth: weights of another .*\d+ of the net's \d+ tensors"):
        build_backbone(REGISTRY, "timm/resnet10t", 48, tmp_path / "other.pth")


def test_widths_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="small-resnet/wide"):
        build_backbone(REGISTRY, "small-resnet/wide", 48, None)


@pytest.mark.parametrize("name", ["small-vit/32", "timm/vit_tiny_patch16_224", "timm/deit_tiny_distilled_patch16_224"])
def test_a_vit_encodes_the_patches_that_it_is_asked_for(name: str) -> None:
    torch.manual_seed(0)
    vit = token_backbone(build_backbone(REGISTRY, name, 48, None)).eval()
    assert vit.grid * vit.patch_size == 48
    images, everything = torch.randn(2, 3, 48, 48), torch.arange(vit.grid**2).expand(2, -1)
    tokens = vit.encode(images, everything)
    assert tokens.shape == (2, vit.grid**2, vit.token_size)
    model, prefix = vit.model, vit.model.num_prefix_tokens  # type: ignore[union-attr]
    torch.testing.assert_close(tokens, model.fc_norm(model.forward_features(images))[:, prefix:])  # type: ignore[union-attr, operator]

    kept = torch.tensor([[5, 0], [2, 3]])
    part = vit.encode(images, kept)
    for hidden in (1, 4):  # kept in neither image
        row, column = (place * vit.patch_size for place in divmod(hidden, vit.grid))
        images[:, :, row : row + vit.patch_size, column : column + vit.patch_size] = 9
    assert torch.equal(vit.encode(images, kept), part)


def test_what_is_no_vit_has_no_tokens() -> None:
    with pytest.raises(UsageError, match="'small-resnet' has no patches"):
        token_backbone(build_backbone(REGISTRY, "small-resnet", 48, None), "small-resnet")


@pytest.mark.parametrize(("name", "size"), [("small-vit/40", 48), ("small-vit/wide", 48), ("small-vit", 50)])
def test_a_small_vit_that_cannot_be_is_refused(name: str, size: int) -> None:
    with pytest.raises(UsageError, match="small-vit"):
        build_backbone(REGISTRY, name, size, None)
