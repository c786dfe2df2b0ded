"""A device is named where cells are planned and looked for where they run; neither decides which cell it is."""

from pathlib import Path

import pytest
import torch

from ferbench.cells.request import RunRequest
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.devices import check_device, choose_device
from ferbench.execution.plan import PlannedCell, make_plan
from tests.support.refusals import refused


@pytest.fixture(params=[0, 2], ids=["no GPU", "two GPUs"])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many GPUs this machine seems to have."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("name", ["gpu", "", "mps", "meta", "cuda:x"])
def test_what_is_no_device_anywhere_is_refused_in_planning(name: str) -> None:
    with refused(UsageError, f"--device {name}"):
        check_device(name)


def test_a_device_is_looked_for_where_it_is_used(gpus: int) -> None:
    for name in ("auto", "cpu", "cuda", "cuda:1", "cuda:9"):
        check_device(name)
    assert choose_device("cpu", 8) == "cpu"
    assert choose_device("auto") == ("cuda" if gpus else "cpu")
    for name, processes, fact in (("cuda:9", 1, "cuda:1"), ("cuda", 3, "--processes 3")):
        with refused(UsageError, fact if gpus else f"--device {name}: this machine has no CUDA device"):
            choose_device(name, processes)
    if gpus:
        assert (choose_device("cuda:1"), choose_device("cuda", 2)) == ("cuda:1", "cuda")


@pytest.mark.parametrize(
    ("device", "asked", "precision"),
    [
        ("auto", None, "fp32"),
        ("cpu", None, "fp32"),
        ("cuda", None, "bf16"),
        ("cuda:1", None, "bf16"),
        ("cuda", "fp32", "fp32"),
        ("auto", "bf16", "bf16"),
    ],
)
def test_a_cell_is_the_same_wherever_it_is_planned(
    gpus: int, registry: Registry, patterns: Path, tmp_path: Path, device: str, asked: str | None, precision: str
) -> None:
    item = planned(registry, patterns, tmp_path, device, asked)
    assert (item.cell.precision, item.job.device) == (precision, device)


def test_cells_of_earlier_versions_keep_their_ids(registry: Registry, patterns: Path, tmp_path: Path) -> None:
    """What was trained on a CPU, and what names its precision."""
    ids = {planned(registry, patterns, tmp_path, *how).cell.cell_id for how in (("auto", None), ("cuda", "fp32"))}
    assert ids == {planned(registry, patterns, tmp_path, "cpu", None).cell.cell_id}


def test_gpus_of_several_places_are_refused_where_a_cell_has_one_device(
    registry: Registry, patterns: Path, tmp_path: Path
) -> None:
    """Otherwise every cell would be sent to a node, and fail there."""
    with refused(UsageError, "--device cuda:0-3", "executor 'inline'", "--device cuda"):
        planned(registry, patterns, tmp_path, "cuda:0-3", None, executor="inline")
    assert planned(registry, patterns, tmp_path, "cuda:0-3", None).job.device == "cuda:0-3"


def planned(
    registry: Registry, patterns: Path, runs: Path, device: str, precision: str | None, executor: str = "local"
) -> PlannedCell:
    request = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], runs=runs, backbones=["small-resnet/4"],
        overrides={"image_size": 16}, device=device, precision=precision, executor=executor,
    )  # fmt: skip
    (item,) = make_plan(request, registry, check_data=False)
    return item
