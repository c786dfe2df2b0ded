"""Cells as processes of this machine."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from ferbench.contract.events import Finished, read_event
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.discovery.loader import load_registry
from ferbench.execution.crash_record import Birth, keep_log, leave_record
from ferbench.records.schema import ErrorReport, Status

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKER = ("-m", "ferbench.execution.worker")
GRACE_SECONDS = 60.0
"""How long a worker may run after its time is up, its cell has ended or it was asked to stop, until it is killed."""
MAX_LOG_BYTES = 1_000_000
LAST_LINES = 30


@dataclass
class _Running:
    index: int
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    deadline: float
    birth: Birth = field(default_factory=Birth)
    unread: bytes = b""
    finished: Finished | None = None
    silent: bool = False
    """Whether its output has ended, as it does when the process is gone."""

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


class LocalExecutor(Executor):
    """One process per cell, `slots` at a time; a process that crashes or hangs costs its own cell only."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        statuses = ["missing"] * len(jobs)
        waiting = deque(enumerate(jobs))
        with selectors.DefaultSelector() as selector, _ending_children() as running:
            while waiting or running:
                while waiting and len(running) < slots:
                    started = _start(*waiting.popleft())
                    running.append(started)
                    selector.register(started.stdout, selectors.EVENT_READ, started)
                first = min(child.deadline for child in running) - time.monotonic()
                for key, _ in selector.select(None if first == float("inf") else max(0.0, first)):
                    _forward_events(key.data, progress)
                for child in [each for each in running if each.silent or time.monotonic() >= each.deadline]:
                    selector.unregister(child.stdout)
                    statuses[child.index] = _finish(child, progress)
                    running.remove(child)
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
    log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed in _finish)
    environment = {**os.environ, **{name: str(job.threads) for name in THREAD_VARIABLES}}
    command = (sys.executable, *WORKER, json.dumps(job.to_json()))
    process = subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
    )
    allowed = float("inf") if job.timeout is None else job.timeout + GRACE_SECONDS
    return _Running(index, job, process, log, time.monotonic() + allowed)


def _forward_events(child: _Running, progress: JobListener) -> None:
    """Pass on the events that have arrived."""
    # Not readline: what it buffers is invisible to the selector, and events would wait for the next one.
    received = os.read(child.stdout.fileno(), 1 << 16)
    child.silent = not received
    *lines, child.unread = (child.unread + received).split(b"\n")
    for line in lines:
        try:
            event = read_event(line)
        except ValueError:  # printed before the worker had taken hold of its output
            child.log.write(line + b"\n")
            continue
        if isinstance(event, Finished):
            child.finished = event
            # There is nothing left to do but to exit, which a thread of a plugin can prevent.
            child.deadline = time.monotonic() + GRACE_SECONDS
        else:
            progress(child.job, event)


def _finish(child: _Running, progress: JobListener) -> str:
    if not child.silent:
        child.process.kill()
    if child.process.stdin is not None:
        child.process.stdin.close()  # which ends the processes that torchrun had started
    code = _wait(child.process, time.monotonic() + GRACE_SECONDS)
    log = _end_of(child.log)
    finished = child.finished or _crash(child, code, log)
    keep_log(child.job, finished.status, log)
    for stream in (child.log, child.stdout):
        stream.close()
    progress(child.job, finished)
    return finished.status


def _crash(child: _Running, code: int, log: bytes) -> Finished:
    """The end of a worker that could not tell its own, with the record that it could not leave."""
    lines = log.decode("utf-8", "replace").strip().splitlines()
    status: Status = "failed"
    if not child.silent:
        status = "timeout"
        message = (
            f"its process did not stop {GRACE_SECONDS:.0f} s after the {child.job.timeout:g} s of --timeout and was "
            "killed; run again with more to go on from the last checkpoint"
        )
    elif code < 0:
        memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        message = (
            f"its process was killed by {signal.Signals(-code).name}{memory}: {lines[-1] if lines else 'no message'}"
        )
    else:
        message = f"its process ended with code {code}: {lines[-1] if lines else 'no message'}"
    report = ErrorReport(type="WorkerDied", message=message, traceback="\n".join(lines[-LAST_LINES:]))
    try:
        leave_record(child.job, load_registry(), status, report, child.birth)
    except Exception as error:  # a plugin's code runs here too, and other cells do not depend on this one
        message += f" (and its record cannot be written: {error})"
    return Finished(status=status, message=message)


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
