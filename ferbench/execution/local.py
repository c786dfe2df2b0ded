"""Cells as processes of this machine."""

import json
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

from pydantic import Field

from ferbench.contract.events import Finished, read_events
from ferbench.contract.executor import Executor, ExecutorOptions, Job, JobListener
from ferbench.errors import ExecutorError
from ferbench.execution.crash_record import crash_record, end_of_log, keep_log, why_it_ended
from ferbench.execution.forks import FORKING, Forked, ForkServer, ServerGoneError
from ferbench.execution.slots import Slot, slots_for
from ferbench.execution.worker import THREAD_VARIABLES
from ferbench.records.schema import Status

GRACE_SECONDS = 60.0
"""How long a worker may run after its time is up, its cell has ended or it was asked to stop, until it is killed."""
LOOK_SECONDS = 0.05
"""How often events are read."""
WORKER = "ferbench.execution.worker:work_as_fork"


@dataclass
class _Running:
    index: int
    job: Job
    slot: Slot
    process: subprocess.Popen[bytes] | Forked
    stdin: int
    """Our end of its standard input: it ends with it."""
    events: IO[bytes]
    log: IO[bytes]
    began: float
    deadline: float
    finished: Finished | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, or must be."""
        return self.process.poll() is not None or time.monotonic() >= self.deadline


class LocalOptions(ExecutorOptions):
    """How cells share the GPUs of this machine."""

    per_device: int = Field(1, ge=1, description="cells at a time on each GPU")


class LocalExecutor(Executor):
    """A process per cell, side by side on the CPU or on GPUs of their own; one that crashes or hangs costs its cell.

    On Linux each is a fork of a server that has imported torch, which lives while `run` does.
    """

    Options = LocalOptions
    options: LocalOptions

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        return len(slots_for(jobs[0], self.options.per_device, wanted)) if jobs else 1

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        statuses = ["missing"] * len(jobs)
        waiting = deque(enumerate(jobs))
        free = deque(slots_for(jobs[0], self.options.per_device, slots) if jobs else ())
        with _Starter() as starter, _ending_children() as running:
            while waiting or running:
                while waiting and free:
                    running.append(starter.start(*waiting.popleft(), free.popleft()))
                time.sleep(LOOK_SECONDS)
                for child in list(running):
                    if child.is_over:
                        statuses[child.index] = _finish(child, progress)
                        running.remove(child)
                        free.append(child.slot)
                    else:
                        _forward_events(child, progress)
        return statuses


class _Starter:
    """Starts workers; has a server for them from the first on, and another one when that is gone."""

    def __init__(self) -> None:
        self._servers: dict[int, ForkServer] = {}
        """By the number of threads, which libraries read when they are loaded."""

    def __enter__(self) -> "_Starter":
        return self

    def __exit__(self, *raised: object) -> None:
        for server in self._servers.values():
            server.end()

    def start(self, index: int, job: Job, slot: Slot) -> _Running:
        """A worker for a job."""
        events, log = tempfile.NamedTemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed in _finish)
        stdin, our_end = os.pipe()
        try:
            process = self._process(slot.job(job), slot, Path(events.name), (stdin, log.fileno(), log.fileno()))
        finally:
            os.close(stdin)
        now = time.monotonic()
        deadline = float("inf") if job.timeout is None else now + job.timeout + GRACE_SECONDS
        return _Running(index, job, slot, process, our_end, events, log, now, deadline)

    def _process(
        self, job: Job, slot: Slot, events: Path, streams: tuple[int, int, int]
    ) -> subprocess.Popen[bytes] | Forked:
        environment, (stdin, stdout, stderr) = slot.environment(), streams
        if not FORKING:
            command = [*job.command(events), "--die-with-parent"]
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment)
        arguments, last_line = [json.dumps(job.to_json()), str(events)], ""
        for _ in range(2):  # a server that was killed says nothing of the next one
            server = self._server(job.threads)
            try:
                return server.start(WORKER, arguments, environment, streams, may_fork=True)
            except ServerGoneError:
                last_line = server.end()
                del self._servers[job.threads]
        raise ExecutorError(
            "the process that starts cells has ended twice before it started one"
            f"{f' ({last_line})' if last_line else ''}; `python -m ferbench doctor` looks at this installation"
        )

    def _server(self, threads: int) -> ForkServer:
        if threads not in self._servers:
            self._servers[threads] = ForkServer({**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}})
        return self._servers[threads]


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
    os.close(child.stdin)  # which ends the processes that torchrun had started
    code = _wait(child.process, time.monotonic() + GRACE_SECONDS)
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


def _wait(process: subprocess.Popen[bytes] | Forked, until: float) -> int:
    """The exit code; a process that has not ended by then is killed."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
