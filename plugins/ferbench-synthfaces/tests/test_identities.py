"""Face-recognition weights: the loss of ArcFace, the tool that trains them, and the files that ship."""

import hashlib
import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ferbench.contract.backbone import BackboneRequest
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError, UsageError
from ferbench_synthfaces.render.plan import IDENTITIES, POOL_INTENSITY, SetPlan, identity_rng, plan_split
from ferbench_synthfaces.weights import identity

SHIPPED = Path(__file__).parents[1] / "ferbench_synthfaces" / "weights"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "pretrain_identities.py"
    spec = importlib.util.spec_from_file_location("pretrain_identities", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_people_of_identities_are_others_and_appear_often() -> None:
    plan = plan_split(1, IDENTITIES, 100)
    assert np.bincount(plan.subjects).tolist() == [10] * 10
    assert SetPlan("x", 1, 64, 0, 0, 0, identities=9).difficulty(IDENTITIES).intensity == POOL_INTENSITY
    drawn = {identity_rng(1, split, 4).random() for split in ("train", "test", "unlabeled", IDENTITIES)}
    assert len(drawn) == 4


def test_logits_are_those_of_an_enlarged_angle(tool: ModuleType) -> None:
    angles = torch.linspace(0.01, math.pi - 0.31, 40, dtype=torch.float64)
    cosine = torch.stack([angles.cos(), torch.full_like(angles, 0.2)], 1).requires_grad_()
    logits = tool.arcface_logits(cosine, torch.zeros(40, dtype=torch.int64), 30.0, 0.3)
    assert torch.allclose(logits[:, 0], 30 * (angles + 0.3).cos())
    assert torch.allclose(logits[:, 1], torch.full_like(angles, 6.0))
    logits[:, 0].sum().backward()
    assert torch.allclose(cosine.grad[:, 0], 30 * (angles + 0.3).sin() / angles.sin())


def test_beyond_the_largest_angle_logits_fall_on(tool: ModuleType) -> None:
    cosine = torch.linspace(-1, -0.9, 20)[:, None]
    logits = tool.arcface_logits(cosine, torch.zeros(20, dtype=torch.int64), 1.0, 0.5)[:, 0]
    assert (logits.diff() > 0).all()


@pytest.mark.slow
def test_a_tiny_set_from_renders_to_weights(tool: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    from ferbench_synthfaces.command import synthfaces

    options = ("--n", "0", "--n-test", "0", "--n-identities", "400", "--size", "32", "--workers", "1")
    made = CliRunner().invoke(synthfaces, ["render", *options, "--out", str(tmp_path / "faces")])
    assert made.exit_code == 0, made.output
    done = CliRunner().invoke(
        tool.main, [str(tmp_path / "faces"), "small-resnet/4", "--epochs", "1", "--out", str(tmp_path / "weights")]
    )
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "weights" / "small-resnet-4.json").read_text())
    content = (tmp_path / "weights" / "small-resnet-4.safetensors").read_bytes()
    assert (card["people"], card["images"]) == (40, 400)
    assert card["sha256"] == hashlib.sha256(content).hexdigest() and card["sha256"] in done.output


def test_a_folder_without_identities_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--n-identities"):
        tool.People.read(tmp_path, 48)


def test_a_backbone_without_a_file_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(UsageError, match=r"timm/resnet18.*small-resnet/16"):
        identity("timm/resnet18")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_files_are_those_of_their_cards_and_fit(path: Path) -> None:
    card = json.loads(path.with_suffix(".json").read_text())
    assert identity(card["backbone"]) == path
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_size < 2 * 10**6
    family, _, variant = card["backbone"].partition("/")
    built = load_registry().get("backbones", family).load()(BackboneRequest(variant, card["settings"]["size"], path))
    assert built.init_match is not None


def test_there_are_shipped_files() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} >= {"small-resnet-16"}
