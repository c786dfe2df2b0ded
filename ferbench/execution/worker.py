"""The process that runs one cell: takes a job and tells what happens as JSON lines."""

import json
import logging
import os
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ferbench.contract.events import Finished, Started
from ferbench.contract.executor import Job
from ferbench.errors import FerbenchError, UsageError
from ferbench.execution.endings import finished, unfinished
from ferbench.execution.event_lines import EventLines, end_with_parent
from ferbench.execution.forks import Forks
from ferbench.execution.notices import warnings_as_notices
from ferbench.execution.stopping import StopRequests

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def work_as_fork(arguments: Sequence[str], forks: Forks | None) -> int:
    """What a fork of the server does that is started with a job as JSON and the file of its events."""
    job, events = arguments
    return work(job, Path(events), die_with_parent=True, forks=forks)


def work(text: str, events: Path | None, *, die_with_parent: bool = False, forks: Forks | None = None) -> int:
    """Run the job that is given as JSON or as a file of it; the exit code is that of the error, or 0.

    The trainer is one of the `forks`, or a new process.
    """
    job = _read_job(text)
    # Before torch is imported, which reads them once.
    os.environ.update({name: str(job.threads) for name in THREAD_VARIABLES})
    try:
        emit = EventLines(events)
    except OSError as error:
        raise UsageError(f"--events {events}: cannot be written ({error.strerror})") from None
    if die_with_parent:
        end_with_parent()
    logging.basicConfig(level=logging.WARNING)
    stop = StopRequests()
    with stop.heeding_signals(), warnings_as_notices(emit):
        try:
            ending, code = _run(job, emit, stop, forks)
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


def _run(job: Job, emit: EventLines, stop: StopRequests, forks: Forks | None) -> tuple[Finished, int]:
    from ferbench.discovery.loader import load_registry
    from ferbench.execution.run_cell import run_cell
    from ferbench.execution.trainer import train_apart

    stop.allow(job.timeout)
    emit(Started())
    record = run_cell(job, load_registry(), emit, stop, partial(train_apart, forks=forks))
    return finished(record), 0 if record.status == "ok" else 1
