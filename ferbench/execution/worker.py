"""The process that runs one cell: takes a job, writes events as JSON lines, dies with its parent.

Run as `python -m ferbench.execution.worker JOB`, under torchrun where several share the cell; of these the first alone
writes. Not meant to be called by people.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ferbench.errors import FerbenchError, InterruptedRun


def main() -> int:
    """Run the job of the command line; the exit code is that of the error, or 0."""
    emit = _Events()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, handlers=[logging.StreamHandler(), _Notices(emit)])
    stop = _Stop()
    try:
        return _run(json.loads(sys.argv[1]), emit, stop)
    except FerbenchError as error:
        emit(
            {"kind": "finished", "status": "interrupted" if error.exit_code == 130 else "failed", "message": str(error)}
        )
        return error.exit_code


class _Events:
    """Standard output, for events alone: what plugins, C libraries and subprocesses print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._silent = os.environ.get("RANK", "0") != "0"
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._silent:
            return
        line = json.dumps(event) + "\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()


class _Notices(logging.Handler):
    """Warnings that are logged, such as that of a plugin's hook that failed, as events."""

    def __init__(self, emit: _Events) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit({"kind": "notice", "text": f"warning: {record.getMessage()}"})


def _run(value: Mapping[str, Any], emit: _Events, stop: "_Stop") -> int:
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
    # Not through sys.stdin, whose lock would be held for ever in the processes that a stream forks to decode.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
