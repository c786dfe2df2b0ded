"""A supervised cell against workers that are killed, hang and are asked to save; and the file that tells of them."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferbench import CellProcess, EventTail, Workers
from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished, Notice, Started, event_line
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.execution import cell_process, workers
from ferbench.execution.plan import make_plan
from ferbench.execution.workers import Worker
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.support.scripted_worker import SCRIPT

Supervise = Callable[..., CellProcess]

TELL = """
def tell(status):
    events.write(json.dumps({"kind": "finished", "status": status, "message": ""}).encode() + b"\\n")
"""


@pytest.fixture(params=["new processes", pytest.param("forks", marks=pytest.mark.slow)])
def supervise(
    request: pytest.FixtureRequest,
    registry: Registry,
    patterns: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Supervise]:
    """A cell with a script in place of the worker, as it is started on Linux and elsewhere."""
    wanted = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], backbones=["small-resnet/4"],
        overrides={"image_size": 16}, runs=tmp_path / "runs", device="cpu",
    )  # fmt: skip
    (item,) = make_plan(wanted, registry, check_data=False)

    def command(job: Job, events: Path) -> list[str]:
        return [sys.executable, "-m", "tests.support.scripted_worker", json.dumps(job.to_json()), str(events)]

    monkeypatch.setattr(Job, "command", command)
    monkeypatch.setattr(workers, "FORKING", request.param == "forks")
    monkeypatch.setattr(workers, "WORKER", "tests.support.scripted_worker:work")
    with Workers() as given:

        def make(script: str, timeout: float | None = None) -> CellProcess:
            monkeypatch.setenv(SCRIPT, TELL + script)
            job = Job(**{**item.job.__dict__, "timeout": timeout})
            return CellProcess(job, tmp_path / "events", tmp_path / "log", given)

        yield make


def told(process: CellProcess) -> list[Event]:
    return EventTail(process.events).read()


def record(process: CellProcess) -> Record:
    (found,) = (record for _, record in RunStore(process.job.runs).iterate() if isinstance(record, Record))
    return found


@pytest.mark.process
def test_an_end_that_is_told_is_the_end(supervise: Supervise) -> None:
    process = supervise('print("of no interest")\ntell("ok")')
    assert process.run() == Finished(status="ok")
    assert told(process) == [Finished(status="ok")]
    assert process.log.read_text() == "of no interest\n"


@pytest.mark.process
def test_a_crash_is_a_record_with_what_was_printed(supervise: Supervise) -> None:
    process = supervise('print("out of luck", flush=True)\nos.abort()')
    ending = process.run(attempts=3)
    assert ending.status == "failed" and "killed by SIGABRT: out of luck" in ending.message
    assert told(process) == [ending]
    assert record(process).status == "failed"


@pytest.mark.process
def test_a_kill_begins_again_and_what_was_half_written_hides_nothing(supervise: Supervise, tmp_path: Path) -> None:
    times = tmp_path / "times"
    script = f"""
with open({str(times)!r}, "a") as file: file.write("x")
if os.path.getsize({str(times)!r}) < 3:
    events.write(b'{{"kind": "st')
    os.kill(os.getpid(), signal.SIGKILL)
tell("ok")
"""
    process = supervise(script)
    assert process.run(attempts=3).status == "ok"
    assert told(process) == [Finished(status="ok")]


@pytest.mark.process
def test_kills_have_an_end(supervise: Supervise, tmp_path: Path) -> None:
    times = tmp_path / "times"
    process = supervise(f"open({str(times)!r}, 'a').write('x')\nos.kill(os.getpid(), signal.SIGKILL)")
    ending = process.run(attempts=2)
    assert "SIGKILL, perhaps because memory ran out" in ending.message and times.read_text() == "xx"


@pytest.mark.process
def test_stop_lets_it_save_and_a_schedulers_warning_does_not_end_it(supervise: Supervise) -> None:
    script = """
signal.signal(signal.SIGTERM, lambda *_: (tell("interrupted"), sys.exit(130)))
events.write(b'{"kind": "started"}\\n')
while True: time.sleep(0.05)
"""
    process = supervise(script)
    ends: list[Finished] = []
    thread = threading.Thread(target=lambda: ends.append(process.run(attempts=3)))
    thread.start()
    while Started() not in told(process):
        time.sleep(0.02)
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGUSR2)
    time.sleep(0.2)
    assert thread.is_alive()
    process.stop(patience=20)
    thread.join(20)
    assert [end.status for end in ends] == ["interrupted"]


@pytest.mark.process
def test_a_stop_while_it_starts_is_heeded(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    process = supervise('time.sleep(15)\ntell("ok")')
    start = process.workers.start

    def stopped_meanwhile(*arguments: Any) -> Worker:
        worker = start(*arguments)
        process.stop(patience=0.0)
        return worker

    monkeypatch.setattr(process.workers, "start", stopped_meanwhile)
    assert process.run(attempts=3).status == "interrupted"


@pytest.mark.process
@pytest.mark.parametrize("deaf", ["SIGTERM", "timeout"])
def test_one_that_does_not_listen_is_killed(supervise: Supervise, deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_process, "GRACE_SECONDS", 0.3)
    script = 'signal.signal(signal.SIGTERM, signal.SIG_IGN)\nevents.write(b\'{"kind": "started"}\\n\')\ntime.sleep(60)'
    process = supervise(script, timeout=1.0 if deaf == "timeout" else None)
    if deaf == "SIGTERM":

        def stop() -> None:
            while Started() not in told(process):
                time.sleep(0.02)
            process.stop(patience=0.3)

        threading.Thread(target=stop).start()
    began = time.monotonic()
    ending = process.run(attempts=3)
    assert time.monotonic() - began < 60
    assert ending.status == {"SIGTERM": "interrupted", "timeout": "timeout"}[deaf]
    assert told(process)[-1] == ending


def test_a_tail_reads_what_is_new_and_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events"
    tail = EventTail(path)
    assert tail.read() == []
    first, second = event_line(Notice(text="first")), event_line(Notice(text="second"))
    path.write_bytes(first + b"\n" + second[:5])
    assert tail.read() == [Notice(text="first")]
    assert EventTail(path, from_end=True).read() == []
    with path.open("ab") as file:
        file.write(second[5:] + b"\n")
    assert tail.read() == [Notice(text="second")]
    assert tail.read() == []
