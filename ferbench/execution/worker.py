"""The process that runs one cell: reads a job from standard input, writes events as JSON lines, dies with its parent.

Run as `python -m ferbench.execution.worker`; not meant to be called by people.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ferbench.errors import FerbenchError, InterruptedRun


def main() -> int:
    """Run the job on standard input; the exit code is that of the error, or 0."""
    job_line = sys.stdin.readline()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Whatever a plugin prints must not be mistaken for an event.
    events_out, sys.stdout = sys.stdout, sys.stderr

    def emit(event: Mapping[str, Any]) -> None:
        events_out.write(json.dumps(event) + "\n")
        events_out.flush()

    stop = _Stop()
    try:
        return _run(json.loads(job_line), emit, stop)
    except FerbenchError as error:
        emit(
            {"kind": "finished", "status": "interrupted" if error.exit_code == 130 else "failed", "message": str(error)}
        )
        return error.exit_code


def _run(value: Mapping[str, Any], emit: Any, stop: "_Stop") -> int:
    from ferbench.contract.executor import Job
    from ferbench.training.cell_run import run_cell

    job = Job.from_json(value)
    stop.deadline = None if job.timeout is None else time.monotonic() + job.timeout
    emit({"kind": "started", "pid": os.getpid()})
    record = run_cell(job, emit, stop)
    emit(
        {
            "kind": "finished",
            "status": record.status,
            "message": record.error.line if record.error else "",
            "metrics": record.result.metrics.model_dump(exclude={"per_class_recall"}) if record.result else None,
            "wall_seconds": record.measured.wall_seconds,
        }
    )
    return 0 if record.status == "ok" else 1


class _Stop:
    """Asked once a step: None, or the reason to save and leave."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._signal: str | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signal = signal.Signals(number).name

    def __call__(self) -> FerbenchError | None:
        if self._signal is not None:
            return InterruptedRun(f"stopped by {self._signal}; run the same command again to go on")
        if self.deadline is not None and time.monotonic() > self.deadline:
            from ferbench.training.cell_run import TimeoutReached

            return TimeoutReached("the time of --timeout is used up; run again with more to go on from here")
        return None


def _die_with_parent() -> None:
    # The parent holds the other end of standard input; it closes when the parent is gone, however it ended.
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
