"""Runs cells as processes of this machine."""

import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import Field

from ferbench.contract.events import Finished, read_events
from ferbench.contract.executor import Executor, ExecutorOptions, Job, JobListener
from ferbench.discovery.foreign_code import STOPPING
from ferbench.execution.crash_record import crash_record, end_of_log, keep_log, why_it_ended
from ferbench.execution.slots import Slot, slots_for
from ferbench.execution.workers import Process, Worker, Workers
from ferbench.records.schema import Status

GRACE_SECONDS = 60.0
"""Seconds for a worker to end after its time limit, its last event or a request to stop; then it is killed."""
LOOK_SECONDS = 0.05
"""Seconds between two reads of events."""


@dataclass
class _Running:
    index: int
    job: Job
    slot: Slot
    worker: Worker
    events: IO[bytes]
    log: IO[bytes]
    began: float
    deadline: float
    finished: Finished | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, or has reached its deadline."""
        return self.worker.process.poll() is not None or time.monotonic() >= self.deadline


class LocalOptions(ExecutorOptions):
    """How cells share the GPUs of this machine."""

    per_device: int = Field(1, ge=1, description="cells at a time on each GPU")


class LocalExecutor(Executor):
    """Runs one process per cell, several at a time on the CPU or one on each GPU. A crash or hang costs only that cell.

    On Linux each process is a fork of a server that has imported torch. The server lives while `run` does.
    """

    Options = LocalOptions
    spreads_over_gpus = True
    options: LocalOptions

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        return len(slots_for(jobs[0], self.options.per_device, wanted)) if jobs else 1

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        statuses = ["missing"] * len(jobs)
        waiting = deque(enumerate(jobs))
        free = deque(slots_for(jobs[0], self.options.per_device, slots) if jobs else ())
        with Workers() as workers, _ending_children() as running:
            while waiting or running:
                while waiting and free:
                    running.append(_start(workers, *waiting.popleft(), free.popleft()))
                time.sleep(LOOK_SECONDS)
                for child in list(running):
                    if child.is_over:
                        statuses[child.index] = _finish(child, progress)
                        running.remove(child)
                        free.append(child.slot)
                    else:
                        _forward_events(child, progress)
        return statuses


@contextmanager
def _ending_children() -> Iterator[list[_Running]]:
    running: list[_Running] = []
    try:
        yield running
    except BaseException:
        # timeout(1) and impatient people send the signal twice, while the children are still saving.
        while running:
            with suppress(KeyboardInterrupt), _deaf():
                _let_save(running)
                running.clear()
        raise


def _let_save(running: list[_Running]) -> None:
    """Ask the children to save, and wait for their ends."""
    for child in running:  # Ctrl-C reaches them too, but a signal to this process alone does not
        child.worker.process.send_signal(signal.SIGINT)
    until = time.monotonic() + GRACE_SECONDS
    for child in running:
        _wait(child.worker.process, until)
        child.worker.end()
        for stream in (child.log, child.events):
            stream.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Within the block the signals that stop a process do nothing."""
    if threading.current_thread() is not threading.main_thread():  # only there signals arrive
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(workers: Workers, index: int, job: Job, slot: Slot) -> _Running:
    events, log = tempfile.NamedTemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed in _finish)
    worker = workers.start(slot.job(job), Path(events.name), log.fileno(), slot.environment())
    now = time.monotonic()
    deadline = float("inf") if job.timeout is None else now + job.timeout + GRACE_SECONDS
    return _Running(index, job, slot, worker, events, log, now, deadline)


def _forward_events(child: _Running, progress: JobListener) -> None:
    """Pass on the events that have arrived."""
    for event in read_events(child.events):
        if isinstance(event, Finished):
            child.finished = event
            # Only the exit is left to do, but a thread of a plugin can prevent it.
            child.deadline = time.monotonic() + GRACE_SECONDS
        else:
            progress(child.job, event)


def _finish(child: _Running, progress: JobListener) -> str:
    hangs = child.worker.process.poll() is None
    if hangs:
        child.worker.process.kill()
    child.worker.end()  # this also ends the processes that torchrun had started
    code = _wait(child.worker.process, time.monotonic() + GRACE_SECONDS)
    _forward_events(child, progress)
    log = end_of_log(child.log)
    for stream in (child.log, child.events):
        stream.close()
    if child.finished:
        finished = child.finished
        keep_log(child.job, finished.status, log)
    else:
        seconds = time.monotonic() - child.began
        status: Status = "timeout" if hangs else "failed"
        reason = why_it_ended(child.job, code, GRACE_SECONDS if hangs else None)
        finished = crash_record(child.job, reason, log=log, status=status, seconds=seconds)
    progress(child.job, finished)
    return finished.status


def _wait(process: Process, until: float) -> int:
    """The exit code. A process that does not end in time is killed."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
