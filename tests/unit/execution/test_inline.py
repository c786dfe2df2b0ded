"""The inline executor: cells in this process, and what it makes is never standard."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

import ferbench
from ferbench.builtin import protocols
from ferbench.builtin.methods.supervised import Supervised
from ferbench.cells.request import RunRequest
from ferbench.contract.batch import Batch, Losses
from ferbench.contract.events import EpochRow, Event, Notice
from ferbench.contract.executor import Job
from ferbench.contract.protocol import Recipe
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import InterruptedRun, UsageError
from ferbench.execution.inline import InlineExecutor
from ferbench.execution.notices import warnings_as_notices
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests
from ferbench.hookspecs import hookimpl
from ferbench.records.cell import Cell
from ferbench.records.files import write_atomic
from ferbench.records.lease import LeaseHeldError, LeaseLostError
from ferbench.records.store import LEASE, RunStore
from tests.support.refusals import refused
from tests.unit.discovery.test_loader import plugin
from tests.unit.records.test_lease import Showing, left_by

RECIPE = Recipe(
    backbone="small-resnet/4", image_size=16, steps=2, labeled_batch=4, unlabeled_batch=4, learning_rate=1e-3
)
SHORT_V1 = protocols.RATIO_V1.model_copy(update={"name": "short-v1", "recipes": {"default": RECIPE}})
"""A protocol so short that a standard cell of it takes no time."""


@pytest.fixture
def short(registry: Registry) -> Registry:
    """What is installed, and `short-v1`."""
    known = registry.entries["protocols"]
    entry = replace(known["ratio-v1"], name="short-v1", target=f"{__name__}:SHORT_V1")
    return replace(registry, entries={**registry.entries, "protocols": {**known, "short-v1": entry}})


def plan(registry: Registry, patterns: Path, runs: Path, executor: str, **options: Any) -> PlannedCell:
    request = RunRequest(
        methods=["supervised"], protocol="short-v1", datasets=[str(patterns)], ratios=["0.1"], seeds=[0],
        runs=runs, device="cpu", executor=executor, **options,
    )  # fmt: skip
    (item,) = make_plan(request, registry)
    return item


def run(job: Job, registry: Registry) -> Any:
    return run_cell(job, registry, lambda event: None, StopRequests())


def test_only_another_executor_makes_the_same_cell_standard(short: Registry, patterns: Path, tmp_path: Path) -> None:
    first = run(plan(short, patterns, tmp_path, "inline").job, short)
    assert (first.measured.executor, first.standard, first.cell.changes) == ("inline", False, "")
    assert plan(short, patterns, tmp_path, "inline").cached
    again = plan(short, patterns, tmp_path, "local")
    assert not again.cached
    second = run(again.job, short)
    assert (second.measured.executor, second.standard) == ("local", True)
    assert second.result == first.result
    assert plan(short, patterns, tmp_path, "inline").cached


def test_a_cell_waits_for_the_lease_of_a_node_that_is_gone(
    short: Registry, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "0.7")
    item, told = plan(short, patterns, tmp_path, "inline"), list[Event]()
    folder = RunStore(tmp_path).folder(item.cell)
    folder.mkdir(parents=True)
    left_by(folder / LEASE, age=0)
    assert run_cell(item.job, short, told.append, StopRequests()).status == "ok"
    assert isinstance(told[0], Notice) and "another process works on this cell; waiting up to 0.7 s" in told[0].text
    assert not list(folder.glob(".lease*"))


def test_a_cell_that_begins_again_waits_for_its_earlier_run_that_still_saves(
    short: Registry, patterns: Path, tmp_path: Path
) -> None:
    item = plan(short, patterns, tmp_path, "inline")
    folder = RunStore(tmp_path).folder(item.cell)
    folder.mkdir(parents=True)
    for again in (False, True):
        saving = Showing(left_by(folder / LEASE, age=0), looks=4)
        if again:
            assert run_cell(item.job, short, lambda event: None, saving, begins_again=True).status == "ok"
        else:
            with pytest.raises(LeaseHeldError, match="process 1 on node7"):
                run_cell(item.job, short, lambda event: None, saving)


@pytest.mark.parametrize("ending", [FileNotFoundError("logits.npy"), SystemExit(1), InterruptedRun("stop")])
def test_whoever_wakes_in_a_folder_that_was_taken_over_leaves_all_to_the_successor(
    short: Registry, patterns: Path, tmp_path: Path, ending: BaseException
) -> None:
    """Its files have been renamed, so that the loss shows itself by other errors."""
    item = plan(short, patterns, tmp_path, "inline")
    folder = RunStore(tmp_path).folder(item.cell)
    left: dict[str, bytes] = {}

    def paused(job: Job, work: Path, *_: object) -> NoReturn:
        left_by(folder / LEASE, age=0, number=9)
        work.rename(folder / "in-progress-of9")
        (folder / "running.json").write_text("of the successor")
        write_atomic(work / "said.safetensors", b"late")
        left.update({path.name: path.read_bytes() for path in folder.glob("*.json*")})
        raise ending

    with pytest.raises(LeaseLostError, match="process 1 on node7"):
        run_cell(item.job, short, lambda event: None, StopRequests(), paused)
    assert {path.name: path.read_bytes() for path in folder.glob("*.json*")} == left
    assert [path.name for path in folder.glob("in-progress*")] == ["in-progress-of9"]


def test_what_began_inline_is_not_continued_by_another_executor(
    short: Registry, patterns: Path, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRun):
        run_cell(
            plan(short, patterns, tmp_path, "inline").job, short, lambda event: None, lambda: InterruptedRun("stop")
        )
    assert list(tmp_path.rglob("checkpoint.safetensors"))
    notices: list[str] = []
    record = run_cell(
        plan(short, patterns, tmp_path, "local").job,
        short,
        lambda event: notices.append(event.text) if isinstance(event, Notice) else None,
        StopRequests(),
    )
    assert (record.measured.resumed, record.standard) == (0, True)
    assert any("checkpoint" in text and "executor" in text for text in notices)


def test_a_hook_that_writes_into_what_it_gets_changes_nothing(patterns: Path, tmp_path: Path) -> None:
    @hookimpl
    def ferbench_run_started(cell: Cell) -> None:
        cell.overrides.protocol["steps"] = 7

    @hookimpl
    def ferbench_epoch_finished(epoch: EpochRow) -> None:
        epoch.terms["supervised"] = 0.0
        if epoch.evaluation:
            epoch.evaluation["accuracy"] = 1.0

    hooks = {"ferbench_run_started": ferbench_run_started, "ferbench_epoch_finished": ferbench_epoch_finished}
    hostile = load_registry({}, [plugin("ferbench-hostile", **hooks)])  # type: ignore[list-item]
    found = []
    for name, registry in (("own", load_registry({}, [])), ("hostile", hostile)):
        request = RunRequest(
            methods=["supervised"],
            datasets=[str(patterns)],
            ratios=["0.1"],
            seeds=[0],
            backbones=["small-resnet/4"],
            overrides={"steps": 20, "image_size": 16, "labeled_batch": 4},
            runs=tmp_path / name,
            device="cpu",
        )
        (item,) = make_plan(request, registry)
        record = run(item.job, registry)
        found.append(
            (record.cell, record.result, (tmp_path / name / record.cell.folder() / "history.json").read_bytes())
        )
    assert found[0] == found[1]


def test_an_interrupted_call_ends_in_an_error(patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopRequests, "__call__", lambda self: InterruptedRun("stop"))
    with pytest.raises(InterruptedRun):
        ferbench.run(
            method=["supervised", "fixmatch"],
            dataset=str(patterns),
            ratio=0.1,
            backbone="small-resnet/4",
            device="cpu",
            runs=tmp_path,
            executor="inline",
            overrides={"steps": 20, "image_size": 16},
        )
    assert not list(tmp_path.rglob("record.json"))


def test_warnings_are_told_as_notices() -> None:
    told: list[Event] = []
    with warnings_as_notices(told.append):
        logging.getLogger("ferbench.somewhere").warning("plugin %s failed", "x")
    logging.getLogger("ferbench.somewhere").warning("later")
    assert told == [Notice(text="warning: plugin x failed")]


def test_it_has_one_process(registry: Registry, short: Registry, patterns: Path, tmp_path: Path) -> None:
    job = replace(plan(short, patterns, tmp_path, "inline").job, processes=2)
    with refused(UsageError, "--processes 2", "--executor local"):
        InlineExecutor().places([job], None)


def test_an_unknown_executor_is_refused_with_the_nearest(short: Registry, patterns: Path, tmp_path: Path) -> None:
    with refused(UsageError, "'inlnie'", "did you mean 'inline'"):
        plan(short, patterns, tmp_path, "inlnie")
    assert not list(tmp_path.iterdir())


def test_a_cell_without_memory_says_what_it_had_and_wanted(
    short: Registry, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: Supervised, batch: Batch) -> Losses:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.")

    monkeypatch.setattr(Supervised, "loss", loss)
    record = run(plan(short, patterns, tmp_path, "local").job, short)
    assert record.status == "failed" and record.error is not None
    assert re.search(r"out of memory on cpu: this cell had \d+\.\d\d GB .* allocate 2.00 GiB", record.error.line)
    assert "--per-device" in record.error.line
    assert "in loss" in record.error.traceback
