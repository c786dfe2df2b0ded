"""The process that runs one cell: it takes a job and reports events as JSON lines."""

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
    """The entry point of a fork: `arguments` are a job as JSON and the file for its events."""
    job, events = arguments
    return work(job, Path(events), die_with_parent=True, forks=forks)


def work(text: str, events: Path | None, *, die_with_parent: bool = False, forks: Forks | None = None) -> int:
    """Run the job, which is given as JSON or as a JSON file. The exit code is that of the error, or 0.

    The trainer is one of the `forks`, or a new process.
    """
    job = _read_job(text)
    # This must happen before torch is imported, which reads the variables once.
    os.environ.update({name: str(job.threads) for name in THREAD_VARIABLES})
    # When a cell is started again, on any machine, its events are appended to those of the first attempt.
    begins_again = events is not None and events.is_file() and events.stat().st_size > 0
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
            ending, code = _run(job, emit, stop, forks, begins_again)
        except FerbenchError as error:
            ending, code = unfinished(error), error.exit_code
        except Exception:
            # The command line would print only one line, but readers of the log need the traceback.
            traceback.print_exc()
            return 1
    emit(ending)
    return code


def _read_job(text: str) -> Job:
    try:
        return Job.from_json(json.loads(text if text.lstrip().startswith("{") else Path(text).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"JOB: neither a job of this version of ferbench as JSON nor a file of it ({error})") from None


def _run(
    job: Job, emit: EventLines, stop: StopRequests, forks: Forks | None, begins_again: bool
) -> tuple[Finished, int]:
    from ferbench.discovery.loader import load_registry
    from ferbench.execution.run_cell import run_cell
    from ferbench.execution.trainer import train_apart

    stop.allow(job.timeout)
    emit(Started())
    trainer = partial(train_apart, forks=forks)
    record = run_cell(job, load_registry(), emit, stop, trainer, begins_again=begins_again)
    return finished(record), 0 if record.status == "ok" else 1
