"""The process that runs one cell: takes a job, writes events as JSON lines, dies with its parent.

Run as `python -m ferbench.execution.worker JOB`, under torchrun where several share the cell; of these the first alone
writes. Not meant to be called by people.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ferbench.contract.events import Event, Started, event_line
from ferbench.errors import FerbenchError
from ferbench.execution.endings import finished, unfinished
from ferbench.execution.notices import Notices
from ferbench.execution.stopping import StopRequests


def main() -> int:
    """Run the job of the command line; the exit code is that of the error, or 0."""
    emit = _Events()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, handlers=[logging.StreamHandler(), Notices(emit)])
    stop = StopRequests()
    with stop.heeding_signals():
        try:
            return _run(json.loads(sys.argv[1]), emit, stop)
        except FerbenchError as error:
            emit(unfinished(error))
            return error.exit_code


class _Events:
    """Standard output, for events alone: what plugins, C libraries and subprocesses print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()
        self._silent = os.environ.get("RANK", "0") != "0"
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def __call__(self, event: Event) -> None:
        if self._silent:
            return
        line = event_line(event) + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()


def _run(value: Mapping[str, Any], emit: _Events, stop: StopRequests) -> int:
    from ferbench.contract.executor import Job
    from ferbench.discovery.loader import load_registry
    from ferbench.execution.run_cell import run_cell
    from ferbench.execution.trainer import train_apart

    job = Job.from_json(value)
    stop.allow(job.timeout)
    emit(Started())
    record = run_cell(job, load_registry(), emit, stop, train_apart)
    emit(finished(record))
    return 0 if record.status == "ok" else 1


def _die_with_parent() -> None:
    # The parent holds the other end of standard input; it closes when the parent is gone, however it ended.
    # Not through sys.stdin, whose lock would be held for ever in the processes that a stream forks to decode.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
