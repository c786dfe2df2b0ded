"""Test images are given out once the net is there, and it stays as it was then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench.cells.request import RunRequest
from ferbench.contract.executor import Job
from ferbench.discovery.loader import load_registry
from ferbench.execution.handover import TEST, TrainerReport
from ferbench.execution.plan import make_plan
from ferbench.execution.run_cell import Events, Stop, run_cell
from ferbench.execution.stopping import StopRequests
from ferbench.execution.train_cell import train_cell
from ferbench.records.schema import Record
from ferbench.records.store import MODEL

SHORT = {"image_size": 16, "steps": 20, "labeled_batch": 4, "evaluations": 1}
Tests = Callable[[], None]


def ran(patterns: Path, runs: Path, early: Callable[[Path, Tests], None], late: Callable[[Path], None]) -> Record:
    registry = load_registry({"FERBENCH_PLUGINS": ""})
    request = RunRequest(
        methods=["supervised@weak"], datasets=[str(patterns)], ratios=["0.3"], backbones=["small-resnet/4"],
        overrides=SHORT, runs=runs, device="cpu", executor="inline",
    )  # fmt: skip
    (item,) = make_plan(request, registry)

    def trainer(job: Job, folder: Path, events: Events, stop: Stop, tests: Tests) -> TrainerReport:
        early(folder, tests)
        report = train_cell(job, registry, folder, events, stop, tests)
        late(folder)
        return report

    return run_cell(item.job, registry, lambda event: None, StopRequests(), trainer)


def test_whoever_asks_before_the_net_is_there_is_given_nothing(patterns: Path, tmp_path: Path) -> None:
    seen = []

    def early(folder: Path, tests: Tests) -> None:
        tests()
        seen.append((folder / TEST).exists())

    assert ran(patterns, tmp_path, early, lambda folder: None).status == "ok"
    assert seen == [False]


@pytest.mark.parametrize("forged", [True, False])
def test_a_net_that_changes_after_the_test_images_are_known_fails(patterns: Path, tmp_path: Path, forged: bool) -> None:
    def early(folder: Path, tests: Tests) -> None:
        if forged:  # a net that stands in for the one that will have trained on the tests
            (folder / MODEL).write_bytes(b"none yet")
            tests()

    def late(folder: Path) -> None:
        if not forged:
            (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"more")

    record = ran(patterns, tmp_path, early, late)
    assert record.status == "failed" and record.error
    assert "the net has changed since the test images were given out" in record.error.line
