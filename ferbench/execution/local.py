"""Cells as processes of this machine."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from ferbench.contract.executor import Executor, Job, Progress

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Running:
    index: int
    job: Job
    process: subprocess.Popen[bytes]
    errors: IO[str]
    unread: bytes = b""
    finished: dict[str, Any] = field(default_factory=dict)


class LocalExecutor(Executor):
    """One process per cell, `slots` at a time; a process that crashes costs its own cell only."""

    def run(self, jobs: Sequence[Job], progress: Progress, slots: int) -> list[str]:
        statuses = ["missing"] * len(jobs)
        waiting = list(enumerate(jobs))
        with selectors.DefaultSelector() as selector, _ending_children(selector) as running:
            while waiting or running:
                while waiting and len(running) < slots:
                    started = _start(*waiting.pop(0))
                    running.append(started)
                    selector.register(_stdout(started), selectors.EVENT_READ, started)
                for key, _ in selector.select():
                    child: _Running = key.data
                    if _forward_events(child, progress):
                        continue
                    selector.unregister(_stdout(child))
                    running.remove(child)
                    statuses[child.index] = _finish(child, progress)
        return statuses


@contextmanager
def _ending_children(selector: selectors.BaseSelector) -> Iterator[list[_Running]]:
    running: list[_Running] = []
    try:
        yield running
    except BaseException:
        # Ctrl-C reaches the children too, a signal to this process alone does not; a second one changes nothing.
        for child in running:
            child.process.send_signal(signal.SIGINT)
        for child in running:
            child.process.wait()
        raise


def _start(index: int, job: Job) -> _Running:
    errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed in _finish)
    environment = {**os.environ, **{name: str(job.threads) for name in THREAD_VARIABLES}}
    process = subprocess.Popen(
        [sys.executable, "-m", "ferbench.execution.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job.to_json()).encode() + b"\n")
    process.stdin.flush()
    return _Running(index, job, process, errors)


def _stdout(child: _Running) -> IO[bytes]:
    assert child.process.stdout is not None
    return child.process.stdout


def _forward_events(child: _Running, progress: Progress) -> bool:
    """Pass on the events that have arrived; False at the end of the output."""
    # Not readline: what it buffers is invisible to the selector, and events would wait for the next one.
    received = os.read(_stdout(child).fileno(), 1 << 16)
    *lines, child.unread = (child.unread + received).split(b"\n")
    for line in lines:
        event = json.loads(line)
        if event["kind"] == "finished":
            child.finished = event
        else:
            progress(child.job, event)
    return bool(received)


def _finish(child: _Running, progress: Progress) -> str:
    code = child.process.wait()
    if not child.finished:
        child.errors.seek(0)
        last = (child.errors.read().strip().splitlines() or ["no message"])[-1]
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        child.finished = {"kind": "finished", "status": "failed", "message": f"its process {how}: {last}"}
    child.errors.close()
    progress(child.job, {**child.finished, "exit_code": code})
    return str(child.finished["status"])
