"""Files of weights held against nets: what fits is loaded, what does not is refused with its reason."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from ferbench.contract.weights import WeightsMismatch
from ferbench.discovery.registry import Registry
from ferbench.execution.build import build_backbone
from ferbench.weights import load_weights
from tests.support.refusals import refused


def block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(inputs, outputs, 3), bn=nn.BatchNorm2d(outputs)))


def net(width: int = 4, depth: int = 2) -> nn.Module:
    """A stem and a list of blocks, as most nets are."""
    parts = {"stem": block(3, width), "blocks": nn.Sequential(*(block(width, width) for _ in range(depth)))}
    return nn.Sequential(OrderedDict(parts))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {key: torch.rand(value.shape) for key, value in model.state_dict().items() if "num_batches" not in key}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.pth"


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "backbone.", "module.encoder.", "a.b.c.d."])
@pytest.mark.parametrize("place", ["", "state_dict", "model"])
def test_every_place_and_prefix_ends_in_the_same_net(file: Path, place: str, prefix: str) -> None:
    state = state_of(net())
    content: Any = {prefix + key: value for key, value in state.items()} | {"fc.weight": torch.ones(7, 4)}
    saved(file, {place: content} if place else content)
    model = net()
    match = load_weights(model, file)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if key in state)
    assert (match.place, match.prefix, match.left_over) == (place, prefix, ("fc.weight",))
    assert (match.fitting, match.total, match.missing, match.others) == (18, 18, (), ())


def test_a_file_of_old_pytorch_fits_as_torch_says(file: Path) -> None:
    """Without num_batches_tracked: torch's own strict loading takes it, and ends in the same net."""
    state = OrderedDict(state_of(timm.create_model("resnet18", num_classes=0)))
    theirs, ours = (timm.create_model("resnet18", num_classes=0) for _ in range(2))
    theirs.load_state_dict(state, strict=True)
    assert load_weights(ours, saved(file, {"state_dict": state})).missing == ()
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())


def test_a_net_on_meta_tensors_is_checked_alone(file: Path) -> None:
    saved(file, state_of(net()))
    with torch.device("meta"):
        model = net()
        assert load_weights(model, file).fitting == 18
    assert next(model.parameters()).is_meta


def test_of_two_states_that_fit_one_is_read_and_the_other_told(file: Path) -> None:
    first, second = state_of(net()), {key: value + 1 for key, value in state_of(net()).items()}
    saved(file, {"ema": second, "model": first})
    model = net()
    match = load_weights(model, file)
    assert torch.equal(model.state_dict()["stem.conv.bias"], first["stem.conv.bias"])
    assert (match.place, match.others) == ("model", ("ema",))
    assert "not used: ema" in match.summary()
    saved(file, {f"module.encoder_{side}.{key}": value for side in "qk" for key, value in first.items()})
    match = load_weights(model, file)
    assert (match.prefix, match.others) == ("module.encoder_q.", ("module.encoder_k",))


def test_a_few_vectors_may_be_missing_and_keep_their_beginning(file: Path) -> None:
    model, state = net(depth=4), state_of(net(depth=4))
    del state["blocks.3.bn.weight"]
    assert load_weights(model, saved(file, state)).missing == ("blocks.3.bn.weight",)
    assert torch.equal(model.state_dict()["blocks.3.bn.weight"], torch.ones(4))
    without_norms = {key: value for key, value in state.items() if ".bn." not in key}
    with refused(WeightsMismatch, "10 of the net's 30 tensors", "without stem.bn.weight"):
        load_weights(model, saved(file, without_norms))


def changed(**more: Any) -> dict[str, Tensor]:
    return {key.replace("__", "."): value for key, value in more.items()}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (state_of(net(width=6)), ["another width", "stem.conv.weight 6x3x3x3, not 4x3x3x3"]),
        (state_of(net(depth=3)), ["another depth", "blocks.2.conv.weight", "18 of the net's 18 tensors"]),
        (state_of(net(depth=1)), ["another architecture", "without blocks.1.conv.weight", "12 of the net's 18"]),
        (state_of(net()) | changed(stem__conv__weight=torch.ones(4, 1, 3, 3)), ["input channels", "4x1x3x3"]),
        (state_of(net()) | changed(stem__conv__weight=torch.ones(4, 3, 5, 5)), ["size of convolutions", "4x3x5x5"]),
        (state_of(net()) | changed(blocks__1__se__weight=torch.ones(4, 4)), ["architecture", "blocks.1.se.weight"]),
        ({"x.weight": torch.ones(3)}, ["another architecture", "0 of the net's 18"]),
    ],
)
def test_another_net_is_refused_with_figures_and_the_nearest_reason(
    file: Path, theirs: dict[str, Tensor], words: list[str]
) -> None:
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with refused(WeightsMismatch, file, *words, f"ferbench init inspect {file}"):
        load_weights(model, saved(file, theirs))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_profilers_leave_and_a_classifier_are_no_other_net(file: Path) -> None:
    state = state_of(net()) | changed(blocks__0__total_ops=torch.ones(1), head__1__weight=torch.ones(7, 4))
    assert len(load_weights(net(), saved(file, state)).left_over) == 2
    model = nn.Sequential(OrderedDict(head=nn.Sequential(nn.BatchNorm1d(3))))
    state = state_of(model) | {"head.1.weight": torch.ones(7, 3)}
    with refused(WeightsMismatch, "head.1.weight"):
        load_weights(model, saved(file, state))
    assert load_weights(model, file, classifier=("head.1",)).left_over == ("head.1.weight",)


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("resnet34", "timm/resnet18", ["another depth", "ResNet-34", "ResNet-18", "--backbone timm/resnet34"]),
        ("resnet50", "timm/resnet18", ["another architecture", "ResNet-50", "--backbone timm/resnet50"]),
        ("seresnet18", "timm/resnet18", ["squeeze-and-excitation"]),
        ("vit_tiny_patch16_224", "small-vit", ["width 192", "width 64", "--backbone timm/vit_tiny_patch16_224"]),
        ("vit_tiny_patch16_224", "timm/resnet18", ["another architecture", "ViT of width 192"]),
        ("vit_small_patch32_224", "timm/vit_small_patch16_224", ["another patch size", "32x32", "16x16"]),
    ],
)
def test_known_nets_are_named(registry: Registry, file: Path, source: str, name: str, words: list[str]) -> None:
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in timm.create_model(source).state_dict().items()}
    saved(file, {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()})
    with refused(WeightsMismatch, *words), torch.device("meta"):
        build_backbone(registry, name, 32, file)


def test_position_embeddings_are_interpolated_as_timm_does(registry: Registry, file: Path) -> None:
    name = "vit_tiny_patch16_224"
    torch.manual_seed(3)
    whole = timm.create_model(name)
    saved(file, {"model": whole.state_dict()})
    loaded = build_backbone(registry, f"timm/{name}", 48, file)
    reference = timm.create_model(name, img_size=48, num_classes=0)
    timm.models.load_checkpoint(reference, str(file), strict=False, filter_fn=_timms_filter())
    assert torch.equal(loaded.model.pos_embed, reference.pos_embed)  # type: ignore[union-attr, arg-type]
    assert loaded.init_match is not None
    assert loaded.init_match.left_over == ("head.weight", "head.bias")
    assert "pos_embed is interpolated from 14x14 to 3x3 patches" in loaded.init_match.summary()
    state = whole.state_dict() | {"pos_embed": torch.zeros(1, 1 + 190, 192)}
    with refused(WeightsMismatch, "another number of patches", "pos_embed 1x191x192"):
        build_backbone(registry, f"timm/{name}", 48, saved(file, state))


def _timms_filter() -> Any:
    from timm.models.vision_transformer import checkpoint_filter_fn

    return lambda state, model: {k: v for k, v in checkpoint_filter_fn(state, model).items() if "head" not in k}


@pytest.mark.parametrize("name", ["small-resnet/4", "small-vit/32"])
def test_models_of_ferbench_are_weights_too(registry: Registry, file: Path, name: str) -> None:
    torch.manual_seed(5)
    given = build_backbone(registry, name, 16, None)
    saved(file, {f"backbone.{key}": value for key, value in given.state_dict().items()} | {"head.w": torch.ones(3)})
    loaded = build_backbone(registry, name, 16, file)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in given.state_dict().items())
