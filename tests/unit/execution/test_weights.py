"""`--init`: checked while planning, told at the beginning of the run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.cells.request import RunRequest
from ferbench.contract.backbone import Backbone, BackboneRequest
from ferbench.contract.events import Event, Notice
from ferbench.discovery.registry import Entry, Registry
from ferbench.errors import DataError, UsageError
from ferbench.execution import plan as planning
from ferbench.execution.build import build_backbone
from ferbench.execution.nets import check_init
from ferbench.execution.plan import make_plan
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests
from tests.support.refusals import refused


@pytest.fixture
def weights(registry: Registry, tmp_path: Path) -> Path:
    state = build_backbone(registry, "small-resnet/4", 16, None).state_dict()
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()} | {"fc.w": torch.ones(2)}}, path)
    return path


def request(patterns: Path, runs: Path, init: Path, backbone: str = "small-resnet/4") -> RunRequest:
    return RunRequest(
        methods=["supervised"],
        datasets=[str(patterns)],
        ratios=["0.1"],
        backbones=[backbone],
        overrides={"image_size": 16, "steps": 20},
        init=str(init),
        runs=runs,
        device="cpu",
        executor="inline",
    )


def test_a_run_begins_with_the_weights_and_tells_what_matched(
    registry: Registry, patterns: Path, weights: Path, tmp_path: Path
) -> None:
    (item,) = make_plan(request(patterns, tmp_path / "runs", weights), registry)
    assert item.cell.init.startswith("sha256:")
    told: list[Event] = []
    record = run_cell(item.job, registry, told.append, StopRequests())
    assert record.status == "ok"
    (text,) = [event.text for event in told if isinstance(event, Notice) and "initial weights" in event.text]
    assert text.startswith("initial weights weights.pth (from 'state_dict', without the prefix 'module.'): ")
    assert text.endswith("tensors matched; left over: 1 of fc")


@pytest.mark.parametrize("backbone", ["small-resnet/8", "small-vit/32", "timm/resnet10t"])
def test_weights_that_do_not_fit_are_found_before_anything_is_packed(
    registry: Registry, patterns: Path, weights: Path, tmp_path: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "select", lambda *_, **__: pytest.fail("data was read first"))
    with refused(DataError, weights, "of the net's", "ferbench init inspect"):
        make_plan(request(patterns, tmp_path / "runs", weights, backbone), registry)
    assert not (tmp_path / "runs").exists()


def test_an_unreadable_file_is_found_in_planning(registry: Registry, patterns: Path, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>")
    with refused(DataError, "page.pth", "web page"):
        make_plan(request(patterns, tmp_path / "runs", tmp_path / "page.pth"), registry)


def test_a_builder_of_a_plugin_that_fails_on_a_file_is_named(
    registry: Registry, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(registry: Registry, name: str, size: int, init: Path) -> Any:
        raise KeyError("conv1.weight")

    monkeypatch.setattr("ferbench.execution.nets.build_backbone", build)
    with refused(DataError, weights, "backbone 'mine'", "KeyError: 'conv1.weight'", "--init"):
        check_init(registry, "mine", 16, str(weights))


def test_a_builder_of_a_plugin_may_load_by_itself(
    registry: Registry, weights: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    class Own(Backbone):
        feature_size = 2

        def __init__(self, request: BackboneRequest) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.load_state_dict({"layer.weight": torch.ones(2, 2), "layer.bias": torch.ones(2)})

    monkeypatch.setattr(
        "ferbench.execution.nets.build_backbone",
        lambda registry, name, size, init: Own(BackboneRequest("", size, init)),
    )
    assert check_init(registry, "own", 16, str(weights)) is None
    assert not recwarn.list


@pytest.mark.parametrize("name", ["small-resnet", "small-vit"])
def test_a_small_net_has_no_weights_at_a_hub(registry: Registry, name: str) -> None:
    with refused(UsageError, name, "--init hub"):
        build_backbone(registry, name, 48, "hub")


def file_of(backbone: str) -> Path:
    """Registered weights: for one backbone alone."""
    if backbone != "small-resnet/4":
        raise UsageError(f"there is no file for {backbone}")
    return WEIGHTS_FOLDER / "weights.pth"


WEIGHTS_FOLDER = Path()


def test_registered_weights_are_named_by_init_and_hashed_by_content(
    registry: Registry, patterns: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.WEIGHTS_FOLDER", weights.parent)
    entry = Entry("weights", "faces", f"{__name__}:file_of", "", "", 1, "d", "1", example="small-resnet/4")
    known = replace(registry, entries={**registry.entries, "weights": {"faces": entry}})
    (by_name,) = make_plan(request(patterns, tmp_path / "runs", Path("faces")), known)
    (by_file,) = make_plan(request(patterns, tmp_path / "runs", weights), known)
    assert by_name.cell == by_file.cell
    with refused(UsageError, "small-resnet/8"):
        make_plan(request(patterns, tmp_path / "runs", Path("faces"), "small-resnet/8"), known)
    with refused(DataError, "--init nowhere", "'faces'"):
        make_plan(request(patterns, tmp_path / "runs", Path("nowhere")), known)
