"""The process that runs one cell: takes a job and tells what happens as JSON lines."""

import json
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ferbench.contract.events import Event, Finished, Started, event_line
from ferbench.contract.executor import Job
from ferbench.errors import FerbenchError, UsageError
from ferbench.execution.endings import finished, unfinished
from ferbench.execution.notices import warnings_as_notices
from ferbench.execution.stopping import StopRequests

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def work(text: str, events: Path | None, *, die_with_parent: bool = False) -> int:
    """Run the job that is given as JSON or as a file of it; the exit code is that of the error, or 0."""
    job = _read_job(text)
    # Before torch is imported, which reads them once.
    os.environ.update({name: str(job.threads) for name in THREAD_VARIABLES})
    try:
        emit = _Events(events, silent=job.processes > 1 and os.environ.get("RANK", "0") != "0")
    except OSError as error:
        raise UsageError(f"--events {events}: cannot be written ({error.strerror})") from None
    if die_with_parent:
        threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING)
    stop = StopRequests()
    with stop.heeding_signals(), warnings_as_notices(emit):
        try:
            ending, code = _run(job, emit, stop)
        except FerbenchError as error:
            ending, code = unfinished(error), error.exit_code
        except Exception:
            # Not left to the command line, which prints one line: who reads the log wants to know where.
            traceback.print_exc()
            return 1
    emit(ending)
    return code


def _read_job(text: str) -> Job:
    try:
        return Job.from_json(json.loads(text if text.lstrip().startswith("{") else Path(text).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"JOB: neither a job of this version of ferbench as JSON nor a file of it ({error})") from None


class _Events:
    """The file of the events, or standard output for events alone: what else is printed goes to standard error."""

    def __init__(self, path: Path | None, *, silent: bool) -> None:
        """Of several processes that share a cell all but one are `silent`."""
        if path is None:
            self._out = os.fdopen(os.dup(1), "wb")
            os.dup2(2, 1)  # plugins, C libraries and subprocesses print, too
            sys.stdout = sys.stderr
        else:
            self._out = path.open("ab")
        self._lock = threading.Lock()
        self._silent = silent

    def __call__(self, event: Event) -> None:
        if self._silent:
            return
        line = event_line(event) + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()


def _run(job: Job, emit: _Events, stop: StopRequests) -> tuple[Finished, int]:
    from ferbench.discovery.loader import load_registry
    from ferbench.execution.crash_record import leave_record
    from ferbench.execution.devices import choose_device
    from ferbench.execution.run_cell import run_cell
    from ferbench.records.schema import ErrorReport

    stop.allow(job.timeout)
    emit(Started())
    try:
        job = replace(job, device=choose_device(job.device, job.processes))
    except UsageError as error:
        with suppress(FerbenchError):  # somebody else works on the cell
            leave_record(job, "failed", ErrorReport(type="UsageError", message=str(error), traceback=""))
        raise
    record = run_cell(job, load_registry(), emit, stop)
    return finished(record), 0 if record.status == "ok" else 1


def _die_with_parent() -> None:
    # The parent holds the other end of standard input; it closes when the parent is gone, however it ended.
    # Not through sys.stdin, whose lock would be held for ever in the processes that a stream forks to decode.
    while os.read(0, 1):
        pass
    os._exit(1)
