"""Cells as processes of this machine."""

import os
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ferbench.contract.events import Finished, read_events
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.execution.crash_record import crash_record, keep_log
from ferbench.execution.devices import choose_device
from ferbench.records.schema import Status

GRACE_SECONDS = 60.0
"""How long a worker may run after its time is up, its cell has ended or it was asked to stop, until it is killed."""
LOOK_SECONDS = 0.05
"""How often events are read."""
MAX_LOG_BYTES = 1_000_000


@dataclass
class _Running:
    index: int
    job: Job
    process: subprocess.Popen[bytes]
    events: IO[bytes]
    log: IO[bytes]
    began: float
    deadline: float
    finished: Finished | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, or must be."""
        return self.process.poll() is not None or time.monotonic() >= self.deadline


class LocalExecutor(Executor):
    """One process per cell, `slots` at a time; a process that crashes or hangs costs its own cell only."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        for job in jobs:
            choose_device(job.device, job.processes)  # one error, instead of one for each cell
        statuses = ["missing"] * len(jobs)
        waiting = deque(enumerate(jobs))
        with _ending_children() as running:
            while waiting or running:
                while waiting and len(running) < slots:
                    running.append(_start(*waiting.popleft()))
                time.sleep(LOOK_SECONDS)
                for child in list(running):
                    if child.is_over:
                        statuses[child.index] = _finish(child, progress)
                        running.remove(child)
                    else:
                        _forward_events(child, progress)
        return statuses


@contextmanager
def _ending_children() -> Iterator[list[_Running]]:
    running: list[_Running] = []
    try:
        yield running
    except BaseException:
        # Ctrl-C reaches the children too, a signal to this process alone does not.
        for child in running:
            child.process.send_signal(signal.SIGINT)
        until = time.monotonic() + GRACE_SECONDS
        while running:
            # timeout(1) and impatient people signal twice; the children are still saving.
            with suppress(KeyboardInterrupt):
                _wait(running[-1].process, until)
                running.pop()
        raise


def _start(index: int, job: Job) -> _Running:
    events, log = tempfile.NamedTemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed in _finish)
    command = [*job.command(Path(events.name)), "--die-with-parent"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    now = time.monotonic()
    deadline = float("inf") if job.timeout is None else now + job.timeout + GRACE_SECONDS
    return _Running(index, job, process, events, log, now, deadline)


def _forward_events(child: _Running, progress: JobListener) -> None:
    """Pass on the events that have arrived."""
    for event in read_events(child.events):
        if isinstance(event, Finished):
            child.finished = event
            # There is nothing left to do but to exit, which a thread of a plugin can prevent.
            child.deadline = time.monotonic() + GRACE_SECONDS
        else:
            progress(child.job, event)


def _finish(child: _Running, progress: JobListener) -> str:
    hangs = child.process.poll() is None
    if hangs:
        child.process.kill()
    if child.process.stdin is not None:
        child.process.stdin.close()  # which ends the processes that torchrun had started
    code = _wait(child.process, time.monotonic() + GRACE_SECONDS)
    _forward_events(child, progress)
    log = _end_of(child.log)
    for stream in (child.log, child.events):
        stream.close()
    if child.finished:
        finished = child.finished
        keep_log(child.job, finished.status, log)
    else:
        seconds = time.monotonic() - child.began
        status: Status = "timeout" if hangs else "failed"
        finished = crash_record(child.job, _reason(child, code, hangs), log=log, status=status, seconds=seconds)
    progress(child.job, finished)
    return finished.status


def _reason(child: _Running, code: int, hangs: bool) -> str:
    """Why a worker could not tell its own end."""
    if hangs:
        return (
            f"its process did not stop {GRACE_SECONDS:.0f} s after the {child.job.timeout:g} s of --timeout and was "
            "killed; run again with more to go on from the last checkpoint"
        )
    if code >= 0:
        return f"its process ended with code {code}"
    memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f"its process was killed by {signal.Signals(-code).name}{memory}"


def _wait(process: "subprocess.Popen[bytes]", until: float) -> int:
    """The exit code; a process that has not ended by then is killed."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end_of(log: IO[bytes]) -> bytes:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - MAX_LOG_BYTES))
    return log.read(MAX_LOG_BYTES)
