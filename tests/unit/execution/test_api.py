"""The Python API."""

from pathlib import Path
from typing import Any

import pytest

import ferbench
from ferbench.contract.executor import Executor, Job
from ferbench.discovery.registry import Registry
from ferbench.execution.api import execute
from ferbench.execution.plan import PlannedCell
from ferbench.records.plans import read_plans
from ferbench.records.schema import Record
from ferbench.records.store import RunStore, ask_to_stop
from tests.unit.records.factory import make_cell


def test_run_returns_the_records_of_the_grid(patterns: Path, tmp_path: Path) -> None:
    options = {
        "dataset": str(patterns),
        "backbone": "small-resnet/4",
        "device": "cpu",
        "runs": tmp_path / "runs",
        "executor": "inline",
        "overrides": {
            "steps": 20,
            "image_size": 16,
            "labeled_batch": 6,
            "unlabeled_batch": 8,
            "fixmatch.threshold": 0.7,
        },
    }
    first = ferbench.run(method=["supervised", "fixmatch"], ratio=0.1, **options)  # type: ignore[arg-type]
    assert [(record.cell.method, record.status) for record in first] == [("supervised", "ok"), ("fixmatch", "ok")]
    assert first[1].config.method["threshold"] == 0.7
    assert all(record.result is not None and 0 <= record.result.metrics.accuracy <= 1 for record in first)
    again = ferbench.run(method="fixmatch", ratio="0.10", **options)  # type: ignore[arg-type]
    assert again == first[1:]


def test_a_call_withdraws_a_cancellation_and_is_seen_by_status(patterns: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"device": "cpu", "runs": tmp_path, "executor": "inline", "backbone": "small-resnet/4"}
    short = {"steps": 2, "image_size": 16, "labeled_batch": 6}

    def run() -> list[Record]:
        return ferbench.run(method="supervised", ratio=0.1, dataset=str(patterns), overrides=short, **options)

    (record,) = run()
    (plan,) = read_plans(tmp_path)
    assert plan.cells == (record.cell,)
    (RunStore(tmp_path).folder(record.cell) / "record.json").unlink()
    ask_to_stop(RunStore(tmp_path).folder(record.cell))
    assert [again.result for again in run()] == [record.result]


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_shows_where_somebody_looks(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], watched: bool
) -> None:
    if watched:  # what tells rich that this is a terminal
        monkeypatch.setenv("FORCE_COLOR", "1")
    options: dict[str, Any] = {"device": "cpu", "runs": tmp_path, "executor": "inline", "backbone": "small-resnet/4"}
    short = {"steps": 20, "image_size": 16, "labeled_batch": 6}
    found = ferbench.run(method="supervised", ratio=0.1, dataset=str(patterns), overrides=short, **options)
    shown = capsys.readouterr().err
    assert ("1 cell" in shown and "100%" in shown) is watched
    assert isinstance(found, list) and "<table" in found._repr_html_()
    assert list(found.frame()["method"]) == ["supervised"]


def planned(test_on: str | None, *, cached: bool = False, seed: int = 0) -> PlannedCell:
    cell = make_cell(test_on=test_on, seed=seed)
    job = Job(cell.model_dump(mode="json"), {}, "synthfaces", None, None, Path("runs"), "cpu", 1, test_on=test_on)
    return PlannedCell(cell, job, cached)


def test_one_cancelled_cell_costs_the_others_neither_their_tests_nor_their_retries(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    class Recorder(Executor):
        def run(self, jobs, progress, slots):  # type: ignore[no-untyped-def]
            seen.append([(job.cell["seed"], job.test_on) for job in jobs])
            return ["ok", "failed", "interrupted"] if len(seen) == 1 else ["ok" for _ in jobs]

    monkeypatch.setattr("ferbench.execution.executors._is_done", lambda job: True)
    plan = [planned(test_on, seed=seed) for seed in range(3) for test_on in (None, "jaffe")]
    assert execute(plan, Recorder(), 2, lambda job, event: None, registry, retries=1) == [
        "ok", "ok", "ok", "ok", "interrupted", "missing",
    ]  # fmt: skip
    assert seen == [[(0, None), (1, None), (2, None)], [(1, None)], [(0, "jaffe"), (1, "jaffe")]]


@pytest.mark.parametrize(
    ("first", "calls", "statuses"),
    [
        ("ok", [[None, None], ["jaffe", "kdef"]], ["ok", "failed", "ok", "failed"]),
        ("interrupted", [[None, None]], ["interrupted", "missing", "interrupted", "missing"]),
        ("missing", [[None, None]], ["missing"] * 4),
    ],
)
def test_models_are_trained_before_they_are_tested_elsewhere(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, first: str, calls: list[object], statuses: list[str]
) -> None:
    """Whatever the executor does side by side. After an interruption, or if models come later, no test begins."""
    seen: list[object] = []

    class Recorder(Executor):
        def run(self, jobs, progress, slots):  # type: ignore[no-untyped-def]
            seen.append([job.test_on for job in jobs])
            return [first if len(seen) == 1 else "failed" for _ in jobs]

    monkeypatch.setattr("ferbench.execution.executors._is_done", lambda job: True)
    plan = [planned(None), planned("jaffe"), planned("ck-plus", cached=True), planned(None), planned("kdef")]
    assert execute(plan, Recorder(), 2, lambda job, event: None, registry) == statuses
    assert seen == calls
    seen.clear()
    assert execute([planned("jaffe")], Recorder(), 1, lambda job, event: None, registry) == [first]
    assert seen == [["jaffe"]]
