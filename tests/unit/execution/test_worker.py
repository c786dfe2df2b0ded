"""The worker as schedulers start it: without standard input, its events in a file or printed, its exit code."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished, Notice, Started, event_line, read_events
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.errors import InterruptedRun
from ferbench.execution import worker
from ferbench.execution.plan import make_plan
from ferbench.records.cell import Cell
from ferbench.records.store import RunStore
from tests.support.command import call

ENDLESS = {"steps": 1_000_000, "image_size": 16, "labeled_batch": 4}
SHORT = {**ENDLESS, "steps": 20}


def make_job(registry: Registry, patterns: Path, runs: Path, overrides: dict[str, int]) -> Job:
    request = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], runs=runs, backbones=["small-resnet/4"],
        overrides=overrides, device="cpu",
    )  # fmt: skip
    (item,) = make_plan(request, registry, check_data=False)
    return replace(item.job, executor="queue")


@pytest.fixture
def job(registry: Registry, patterns: Path, tmp_path: Path) -> Job:
    return make_job(registry, patterns, tmp_path / "runs", SHORT)


def events_in(path: Path) -> list[Event]:
    with path.open("rb") as file:
        return list(read_events(file))


@pytest.mark.process
def test_no_standard_input_and_events_in_a_file(job: Job, tmp_path: Path) -> None:
    """As sbatch starts it."""
    events = tmp_path / "events"
    earlier = event_line(Notice(text="of an attempt before")) + b"\n"
    events.write_bytes(earlier)
    done = subprocess.run(job.command(events), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = events_in(events)
    assert [event.kind for event in found[:2]] == ["notice", "started"] and events.read_bytes().startswith(earlier)
    assert found[-1].kind == "finished" and found[-1].status == "ok"
    record = RunStore(job.runs).read(Cell.model_validate(dict(job.cell)))
    assert record is not None and record.status == "ok"
    assert (record.measured.executor, record.measured.device) == ("queue", "cpu")


@pytest.mark.process
def test_a_closed_standard_input_and_events_on_standard_output(job: Job, tmp_path: Path) -> None:
    """A job that cannot begin: its file says `cuda`, and there is none."""
    path = tmp_path / "job.json"
    path.write_text(json.dumps(replace(job, device="cuda:99").to_json()))
    command = [sys.executable, "-m", "ferbench", "worker", str(path)]
    closing = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True)
    started, finished = (json.loads(line) for line in closing.stdout.splitlines())
    assert started == {"kind": "started"}
    assert closing.returncode == 1
    assert "--device cuda:99: this machine has" in finished["message"]
    assert finished["status"] == "failed"
    record = RunStore(job.runs).read(Cell.model_validate(dict(job.cell)))
    assert record is not None and record.error is not None
    assert (record.status, record.error.type) == ("failed", "UsageError")
    assert record.error.line == finished["message"]


@pytest.mark.process
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.storm)])
def test_it_outlives_its_parent_unless_it_is_told_not_to(
    registry: Registry, patterns: Path, tmp_path: Path, processes: int
) -> None:
    job = make_job(registry, patterns, tmp_path / "runs", ENDLESS)
    if processes > 1:  # which take no BatchNorm
        job = replace(job, processes=processes, cell={**job.cell, "backbone": "small-vit"})
    for own in ([], ["--die-with-parent"]):
        events = tmp_path / f"events{len(own)}"
        command = [*job.command(events), *own]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        try:
            while not (events.exists() and any(event.kind == "step" for event in events_in(events))):
                assert process.poll() is None
                time.sleep(0.05)
            process.stdin.close()  # as it is when the parent is gone
            if own:
                assert process.wait(60) != 0
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(1)
                process.terminate()
                assert process.wait(60) == 130
                assert list(job.runs.rglob("checkpoint.safetensors"))
        finally:
            process.kill()
            process.wait()


@pytest.mark.process
def test_standard_output_has_events_only() -> None:
    """What is printed on descriptor 1, as C libraries and subprocesses do it, and by Python, goes elsewhere."""
    script = (
        "import os\nfrom ferbench.contract.events import Finished\n"
        "from ferbench.execution.event_lines import EventLines\n"
        "emit = EventLines()\nos.write(1, b'hello\\n')\nprint('from Python')\n"
        "os.system('echo from a subprocess')\nemit(Finished(status='failed'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.stdout == event_line(Finished(status="failed")) + b"\n"
    assert all(text in done.stderr for text in (b"hello", b"from Python", b"from a subprocess"))


def test_what_is_no_job_is_refused(tmp_path: Path, job: Job) -> None:
    later = tmp_path / "later.json"
    later.write_text(json.dumps({**job.to_json(), "queue": "long"}))
    for text in ("{}", "[1]", str(tmp_path / "none.json"), str(later), '{"cell": '):
        shown = call("worker", text)
        assert (shown.code, shown.err.count("\n")) == (2, 1), shown.err
        assert "JOB" in shown.err
    shown = call("worker", json.dumps(job.to_json()), "--events", str(tmp_path / "no folder" / "events"))
    assert shown.code == 2 and "--events" in shown.err


def test_an_error_outside_the_cell_is_shown_with_its_place(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as that of a plugin; whoever started the worker keeps what it printed."""

    def run_cell(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError("in a plugin")

    monkeypatch.setattr("ferbench.execution.run_cell.run_cell", run_cell)
    assert worker.work(json.dumps(job.to_json()), tmp_path / "events") == 1
    assert events_in(tmp_path / "events") == [Started()]
    assert capsys.readouterr().err.rstrip().endswith("ZeroDivisionError: in a plugin")


def test_events_of_an_earlier_attempt_say_that_the_cell_begins_again(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bool] = []

    def run_cell(*arguments: object, begins_again: bool) -> None:
        said.append(begins_again)
        raise InterruptedRun("stop")

    monkeypatch.setattr("ferbench.execution.run_cell.run_cell", run_cell)
    for _ in range(2):
        worker.work(json.dumps(job.to_json()), tmp_path / "events")
    assert said == [False, True]


def test_it_tells_whatever_started_the_executor(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RANK is torchrun's, and may be inherited."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("ferbench.execution.run_cell.run_cell", lambda *_, **more: 1 / 0)
    worker.work(json.dumps(job.to_json()), tmp_path / "events")
    assert events_in(tmp_path / "events") == [Started()]


def test_threads_are_those_of_the_job(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in worker.THREAD_VARIABLES:
        monkeypatch.setenv(name, "9")
    monkeypatch.setattr("ferbench.execution.run_cell.run_cell", lambda *_, **more: 1 / 0)
    worker.work(json.dumps(replace(job, threads=3).to_json()), tmp_path / "events")
    assert {os.environ[name] for name in worker.THREAD_VARIABLES} == {"3"}
    assert torch.get_num_threads() == 1
