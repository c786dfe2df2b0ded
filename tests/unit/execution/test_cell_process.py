"""A supervised cell against workers that are killed, hang and are asked to save; and the file that tells of them."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench import CellProcess, EventTail
from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished, Notice, Started, event_line
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.execution import cell_process
from ferbench.execution.plan import make_plan
from ferbench.records.schema import Record
from ferbench.records.store import RunStore

Supervise = Callable[..., CellProcess]

PRELUDE = """
import json, os, signal, sys, time
job, events = json.loads(sys.argv[1]), open(sys.argv[2], "ab", buffering=0)
def tell(status):
    events.write(json.dumps({"kind": "finished", "status": status, "message": ""}).encode() + b"\\n")
"""


@pytest.fixture
def supervise(registry: Registry, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervise:
    """A cell with a Python script in place of the worker."""
    request = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], backbones=["small-resnet/4"],
        overrides={"image_size": 16}, runs=tmp_path / "runs", device="cpu",
    )  # fmt: skip
    (item,) = make_plan(request, registry, check_data=False)

    def make(script: str, timeout: float | None = None) -> CellProcess:
        def command(job: Job, events: Path) -> list[str]:
            return [sys.executable, "-c", PRELUDE + script, json.dumps(job.to_json()), str(events)]

        monkeypatch.setattr(Job, "command", command)
        job = Job(**{**item.job.__dict__, "timeout": timeout})
        return CellProcess(job, tmp_path / "events", tmp_path / "log")

    return make


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
    assert "SIGKILL, perhaps for want of memory" in ending.message and times.read_text() == "xx"


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
    assert time.monotonic() - began < 20
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
