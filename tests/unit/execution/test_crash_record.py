"""What is written for a process that could not write it."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch  # noqa: F401 - planning then checks nets in this process

from ferbench import crash_record
from ferbench.cells.request import RunRequest
from ferbench.contract.events import Finished, Started
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.execution.crash_record import why_it_ended
from ferbench.execution.plan import make_plan
from ferbench.records.cell import Cell
from ferbench.records.cell_log import CellLog
from ferbench.records.store import RunStore
from tests.support.command import succeed
from tests.unit.records.factory import make_history, make_predictions, make_record
from tests.unit.records.test_lease import left_by
from tests.unit.records.test_store import leave


@pytest.fixture
def job(registry: Registry, patterns: Path, tmp_path: Path) -> Job:
    request = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], runs=tmp_path, backbones=["small-resnet/4"],
        overrides={"image_size": 16}, device="cuda:1",
    )  # fmt: skip
    (item,) = make_plan(request, registry, check_data=False)
    return replace(item.job, executor="queue")


def cell_of(job: Job) -> Cell:
    return Cell.model_validate(dict(job.cell))


def test_the_record_says_why_and_on_what(job: Job) -> None:
    """Where there is no GPU, too: the process that crashed was elsewhere."""
    log = b"first\nSegmentation fault\n"
    told = crash_record(job, "its process ended with code 139", log=log, seconds=90.5)
    assert told == Finished(status="failed", message="its process ended with code 139: Segmentation fault")
    record = RunStore(job.runs).read(cell_of(job))
    assert record is not None and record.error is not None
    assert (record.status, record.error.message, record.error.traceback) == (
        "failed",
        told.message,
        "first\nSegmentation fault",
    )
    assert (record.measured.device, record.measured.executor, record.measured.wall_seconds) == ("cuda:1", "queue", 90.5)
    assert record.measured.cpu_seconds == record.measured.peak_memory_bytes == 0
    assert record.measured.started_at < record.measured.finished_at
    assert (RunStore(job.runs).folder(record.cell) / "worker.log").read_bytes() == log


def test_whoever_follows_the_log_of_a_cell_sees_its_end(job: Job) -> None:
    store = RunStore(job.runs)
    with store.lock(cell_of(job)) as lease:
        CellLog(lease.folder)(Started())
    crash_record(job, "its process was killed by SIGKILL")
    shown = succeed("logs", "seed0", "-f", "--runs", str(job.runs))
    assert "started" in shown and "failed: WorkerDied: its process was killed by SIGKILL" in shown


def test_the_lease_of_a_machine_that_is_gone_is_waited_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker was killed on another node a moment ago."""
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "0.6")
    folder = RunStore(job.runs).folder(cell_of(job))
    folder.mkdir(parents=True)
    left_by(folder / ".lease", age=0)
    told = crash_record(job, "its job used more memory than it had")
    assert told.message == "its job used more memory than it had"
    record = RunStore(job.runs).read(cell_of(job))
    assert record is not None and record.status == "failed"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGRTMIN + 1])
def test_every_signal_has_a_name(job: Job, number: int) -> None:
    assert "its process was killed by" in why_it_ended(job, -number)


def test_a_device_that_nobody_knows_is_left_open(job: Job) -> None:
    crash_record(replace(job, device="auto"), "node n7 is gone")
    record = RunStore(job.runs).read(cell_of(job))
    assert record is not None
    assert record.measured.device == record.environment["device"] == ""


def test_a_result_stays_and_is_how_the_job_has_ended(job: Job) -> None:
    """Its process may be killed once it has written the record, and before it has said so."""
    cell, predictions, history = cell_of(job), make_predictions(), make_history()
    store = RunStore(job.runs)
    store.write_result(cell, make_record(cell, predictions, history), predictions, history)
    told = crash_record(job, "its process was killed by SIGKILL", log=b"Killed")
    assert told.status == "ok" and told.metrics is not None
    assert not (store.folder(cell) / "worker.log").exists()
    assert crash_record(replace(job, needs_model=True), "node n7 is gone").status == "failed"
    assert (kept := store.read(cell)) is not None and kept.status == "ok"


def test_of_a_cell_with_a_result_only_what_is_still_wanted_stays(job: Job) -> None:
    """A process may be killed once it has written its record; or while it trains again for the model alone."""
    cell, predictions, history = cell_of(job), make_predictions(), make_history()
    store = RunStore(job.runs)
    folder = store.write_result(cell, make_record(cell, predictions, history), predictions, history).parent
    before = {path.name for path in folder.iterdir()}
    for needs_model in (True, False):
        leave(folder)
        crash_record(replace(job, needs_model=needs_model), "node n7 is gone")
        left = {path.name.partition("-")[0] for path in folder.iterdir()} - before
        assert left == ({"checkpoint.safetensors", "in"} if needs_model else set())


@pytest.mark.slow
def test_it_raises_nothing(job: Job) -> None:
    with RunStore(job.runs).lock(cell_of(job)):
        told = crash_record(job, "node n7 is gone", status="timeout")
    assert told.status == "timeout"
    assert "node n7 is gone" in told.message and "cannot be written" in told.message
