"""The local executor against workers that print, crash, hang and refuse to leave."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished
from ferbench.contract.executor import Job
from ferbench.discovery.loader import load_registry
from ferbench.execution import local, workers
from ferbench.execution.plan import make_plan
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.support.scripted_worker import FINISHED, SCRIPT

Run = Callable[..., tuple[list[str], list[Event]]]


@pytest.fixture
def jobs(patterns: Path, tmp_path: Path) -> list[Job]:
    """Two cells."""
    request = RunRequest(
        methods=["supervised"],
        datasets=[str(patterns)],
        ratios=["0.1"],
        seeds=[0, 1],
        backbones=["small-resnet/4"],
        overrides={"image_size": 16},
        runs=tmp_path / "runs",
        device="cpu",
    )
    return [item.job for item in make_plan(request, load_registry(), check_data=False)]


@pytest.fixture(params=["new processes", pytest.param("forks", marks=pytest.mark.slow)])
def run(jobs: list[Job], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the cells with a script in place of the worker, as it is started on Linux and elsewhere."""

    def command(job: Job, events: Path) -> list[str]:
        return [sys.executable, "-m", "tests.support.scripted_worker", json.dumps(job.to_json()), str(events)]

    def run(script: str, *, slots: int = 2, **changes: Any) -> tuple[list[str], list[Event]]:
        monkeypatch.setenv(SCRIPT, script)
        given = [replace(job, **changes) for job in jobs]
        events: list[Event] = []
        return local.LocalExecutor().run(given, lambda job, event: events.append(event), slots), events

    monkeypatch.setattr(Job, "command", command)
    monkeypatch.setattr(workers, "FORKING", request.param == "forks")
    monkeypatch.setattr(workers, "WORKER", "tests.support.scripted_worker:work")
    return run


def ends(events: list[Event]) -> list[Finished]:
    return [event for event in events if isinstance(event, Finished)]


def records(jobs: list[Job]) -> list[Record]:
    return [record for _, record in RunStore(jobs[0].runs).iterate() if isinstance(record, Record)]


@pytest.mark.process
def test_lines_that_are_no_event_are_ignored_and_kept(run: Run, jobs: list[Job]) -> None:
    lines = 'b"a library\\n[1]\\n\\xff\\n{\\n" + b"[" * 100000 + b"\\n{}\\n"'
    noise = f"for fd in (1, events.fileno()):\n    os.write(fd, {lines})\n"
    statuses, events = run(noise + FINISHED)
    assert statuses == ["ok", "ok"]
    assert {event.kind for event in events} == {"finished"}
    assert not list(jobs[0].runs.rglob("worker.log"))

    statuses, _ = run(noise + FINISHED.replace('"ok"', '"failed"'))
    assert statuses == ["failed", "failed"]
    assert b"a library" in next(jobs[0].runs.rglob("worker.log")).read_bytes()


@pytest.mark.process
def test_a_killed_worker_costs_its_cell_only_and_leaves_a_record(run: Run, jobs: list[Job]) -> None:
    dies = 'job["cell"]["seed"] == 0 and (print("last words", file=sys.stderr), os.kill(os.getpid(), signal.SIGKILL))\n'
    statuses, events = run(dies + FINISHED)
    assert statuses == ["failed", "ok"]
    assert any("SIGKILL" in event.message and "last words" in event.message for event in ends(events))
    (record,) = records(jobs)
    assert record.status == "failed"
    assert record.cell.seed == 0
    assert record.error is not None
    assert "SIGKILL" in record.error.line
    assert record.error.traceback == "last words"
    assert record.measured.cpu_seconds == 0
    folder = RunStore(jobs[0].runs).folder(record.cell)
    assert (folder / "worker.log").read_text() == "last words\n"
    assert not (folder / "running.json").exists()

    statuses, _ = run(FINISHED)
    assert statuses == ["ok", "ok"]
    assert not (folder / "worker.log").exists()


@pytest.mark.process
def test_a_worker_that_exits_silently_has_failed(run: Run, jobs: list[Job]) -> None:
    statuses, _ = run("sys.exit(7)")
    assert statuses == ["failed", "failed"]
    assert [r.error.line.endswith("ended with code 7") for r in records(jobs) if r.error] == [True, True]


@pytest.mark.process
def test_a_crash_leaves_the_checkpoint_and_what_another_process_holds(run: Run, jobs: list[Job]) -> None:
    store = RunStore(jobs[0].runs)
    first, second = (Record.model_fields["cell"].annotation.model_validate(dict(job.cell)) for job in jobs)  # type: ignore[union-attr]
    store.folder(first).mkdir(parents=True)
    (store.folder(first) / "checkpoint.safetensors").write_bytes(b"steps")
    with store.lock(second):
        statuses, events = run("os.abort()")
    assert statuses == ["failed", "failed"]
    assert [record.cell for record in records(jobs)] == [first]
    assert (store.folder(first) / "checkpoint.safetensors").read_bytes() == b"steps"
    assert any("cannot be written" in event.message and str(os.getpid()) in event.message for event in ends(events))


@pytest.mark.process
def test_a_worker_that_hangs_beyond_its_time_is_killed(
    run: Run, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.2)
    began = time.monotonic()
    statuses, _ = run("time.sleep(60)", timeout=0.3)
    assert time.monotonic() - began < 30
    assert statuses == ["timeout", "timeout"]
    assert [record.status for record in records(jobs)] == ["timeout", "timeout"]


@pytest.mark.process
def test_a_worker_that_does_not_exit_after_its_end_keeps_its_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.2)
    statuses, _ = run(FINISHED + "\ntime.sleep(60)")
    assert statuses == ["ok", "ok"]


@pytest.mark.process
def test_interrupted_twice_the_workers_still_save(run: Run, tmp_path: Path) -> None:
    """timeout(1) signals its child and then the group that the child is in."""
    open_before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    saves = (
        f"folder = {str(tmp_path)!r}\n"
        "name = f\"{folder}/{job['cell']['seed']}\"\n"
        'def save(*_):\n    time.sleep(0.5)\n    open(name + ".saved", "w")\n    os._exit(0)\n'
        'signal.signal(signal.SIGINT, save)\nopen(name + ".ready", "w")\ntime.sleep(60)'
    )

    def signal_twice() -> None:
        while len(list(tmp_path.glob("*.ready"))) < 2:
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    sender = threading.Thread(target=signal_twice)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        run(saves)
    sender.join()
    assert len(list(tmp_path.glob("*.saved"))) == 2
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) <= open_before
