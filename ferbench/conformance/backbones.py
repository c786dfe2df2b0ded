"""Checks for backbones."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ferbench.conformance.framework import Checks, Found
from ferbench.conformance.networks import COMMON, NetworkCase
from ferbench.conformance.surroundings import Surroundings
from ferbench.contract.backbone import Backbone, BackboneRequest, TokenBackbone
from ferbench.discovery.registry import Entry
from ferbench.errors import FerbenchError

ROWS, PIXELS = 4, 32

CHECKS = Checks()


@dataclass(frozen=True)
class BackboneCase(NetworkCase):
    """A backbone, and the function that builds it from initial weights."""

    request: Callable[[Path | None], Backbone]


def case(entry: Entry, surroundings: Surroundings) -> BackboneCase:
    """Return the case of a registered family: the backbone itself, or the example that stands for the family."""
    builder, (_, _, variant) = entry.load(), entry.example.partition("/")

    def request(init: Path | None) -> Backbone:
        built: Backbone = builder(BackboneRequest(variant, PIXELS, init))
        return built

    images = torch.randn(ROWS, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    return BackboneCase(lambda: request(None), images, _outputs, request)


def _outputs(backbone: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    return {"features": backbone(images)}


@CHECKS.add(
    "maps images to features",
    protects="every head: it is built for `feature_size` numbers per image",
    mend="subclass ferbench.contract.backbone.Backbone, set feature_size, mean and std, and return (B, feature_size)",
)
def shapes(case: BackboneCase) -> str:
    backbone = case.built()
    assert isinstance(backbone, Backbone), (
        f"the builder returns {type(backbone).__name__}, not a ferbench.contract.backbone.Backbone"
    )
    size = getattr(backbone, "feature_size", None)
    assert isinstance(size, int), f"feature_size is {size!r}, but it must be a whole number"
    features = backbone(case.inputs)
    assert features.shape == (ROWS, size), f"features are {tuple(features.shape)}, not ({ROWS}, {size})"
    for name in ("mean", "std"):
        values = tuple(getattr(backbone, name))
        assert len(values) == 3 and all(0 <= v <= 1 for v in values), f"{name} is {values}, but it must be RGB in 0..1"
    assert features.requires_grad, "features have no gradient, so the backbone cannot be trained"
    return f"({ROWS}, 3, {PIXELS}, {PIXELS}) to {tuple(features.shape)}"


@CHECKS.add(
    "uses the given initial weights",
    protects="`--init FILE`: a run that names pre-trained weights in its record must start from them",
    mend="pass a path in request.init to ferbench.weights.load_weights, or raise a UsageError if it cannot be loaded",
)
def init(case: BackboneCase) -> Found:
    given, scratch = case.built(seed=1), case.built(seed=2).state_dict()
    wanted = given.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        # Like an `--init` file, it has the state of the net itself, without the adapter around it.
        torch.save(getattr(given, "model", given).state_dict(), path)
        torch.manual_seed(2)
        try:
            loaded = case.request(path).state_dict()
        except FerbenchError as refusal:
            return f"refused: {refusal}".replace(str(path), "FILE")
    told = [name for name, value in wanted.items() if not torch.equal(value, scratch[name])]
    taken = [name for name in told if torch.equal(loaded[name], wanted[name])]
    assert taken, "if it is built with request.init, its weights differ from those of the file"
    return f"{len(taken)} of {len(told)} random tensors are from the file"


@CHECKS.add(
    "tokens depend only on the kept patches",
    protects="methods that mask patches: a token that sees a masked patch knows the answer",
    mend="in encode, drop the other patches before any operation mixes patches, and keep the order of `kept`",
)
def tokens(case: BackboneCase) -> Found:
    backbone = case.built().eval()
    if not isinstance(backbone, TokenBackbone):
        return "no tokens"
    kept = torch.tensor([[backbone.grid + 1, 0]]).expand(ROWS, 2)
    hidden, side = case.inputs.clone(), backbone.patch_size
    hidden[:, :, :side, side : 2 * side] += 1  # patch 1, which is not kept
    with torch.no_grad():
        seen, unchanged, turned = (
            backbone.encode(images, patches)
            for images, patches in ((case.inputs, kept), (hidden, kept), (case.inputs, kept.flip(1)))
        )
    assert seen.shape == (ROWS, 2, backbone.token_size), f"tokens are {tuple(seen.shape)}"
    assert torch.equal(seen, unchanged), "a patch that is not kept changes the tokens of kept ones"
    assert torch.allclose(seen, turned.flip(1), rtol=1e-3, atol=1e-4), "tokens are not in the order of `kept`"
    return f"{backbone.grid} x {backbone.grid} patches"


CHECKS += COMMON
