"""What an executor leaves in a cell's folder when the process of the cell could not."""

import os
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import IO

from ferbench.cells.method_plan import MethodPlan
from ferbench.cells.resolve import resolve
from ferbench.contract.events import Finished
from ferbench.contract.executor import Job
from ferbench.discovery.loader import load_registry
from ferbench.errors import FerbenchError
from ferbench.execution.record_builder import RecordBuilder
from ferbench.execution.run_cell import sources_of
from ferbench.records.cell import Cell
from ferbench.records.files import write_atomic
from ferbench.records.schema import ErrorReport, Status
from ferbench.records.store import RunStore

LOG = "worker.log"
LAST_LINES = 30
MAX_LOG_BYTES = 1_000_000


def crash_record(
    job: Job, reason: str, *, log: bytes = b"", status: Status = "failed", seconds: float = 0.0
) -> Finished:
    """Write why a job has no result, for a process that could not; returns the event that its listener is to be told.

    `reason` is what the executor knows, such as "its process ended with code 1". `log` is the end of what the process
    printed: it is kept as `worker.log`, and its last line follows the reason of what has failed. `seconds` is how long
    the process ran. A result that is there stays, and so does the checkpoint. Raises nothing: where the record cannot
    be written, as another process works on the cell or the folder is read-only, the event says so.
    """
    lines = log.decode("utf-8", "replace").strip().splitlines()
    message = f"{reason}: {lines[-1]}" if lines and status == "failed" else reason
    report = ErrorReport(type="WorkerDied", message=message, traceback="\n".join(lines[-LAST_LINES:]))
    try:
        leave_record(job, status, report, seconds)
    except Exception as error:  # a plugin's code runs here too, and other cells do not depend on this one
        message += f" (and its record cannot be written: {error})"
    keep_log(job, status, log)
    return Finished(status=status, message=message)


def why_it_ended(job: Job, code: int, grace: float | None = None) -> str:
    """Why a worker could not tell its own end; of one that was killed for hanging after so many seconds `grace`."""
    if grace is not None:
        return (
            f"its process did not stop {grace:.0f} s after the {job.timeout:g} s of --timeout and was "
            "killed; run again with more to go on from the last checkpoint"
        )
    if code >= 0:
        return f"its process ended with code {code}"
    memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f"its process was killed by {signal.Signals(-code).name}{memory}"


def end_of_log(log: IO[bytes], begins: int = 0) -> bytes:
    """The last part of what a process printed, from the byte `begins` on."""
    log.seek(max(begins, log.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
    return log.read(MAX_LOG_BYTES)


def leave_record(job: Job, status: Status, error: ErrorReport, seconds: float = 0.0) -> None:
    """Write a record without a result, unless there is one with a result.

    Raises FerbenchError where that is not possible: another process works on the cell, the folder cannot be written.
    """
    cell, store = Cell.model_validate(dict(job.cell)), RunStore(job.runs)
    with store.lock(cell):
        if store.is_done(cell):
            return
        resolved, plan = resolve(cell, load_registry(), sources_of(job)), MethodPlan.model_validate(dict(job.plan))
        record = RecordBuilder(job, resolved, plan).record(status, error=error)
        device = "" if job.device == "auto" else job.device
        # Processor time would be that of this process; the worker's is lost with it.
        of_worker = {
            "started_at": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            "wall_seconds": round(seconds, 3),
            "cpu_seconds": 0.0,
            "device": device,
        }
        changes = {
            "measured": record.measured.model_copy(update=of_worker),
            "environment": {**record.environment, "device": device},
        }
        store.write_result(cell, record.model_copy(update=changes))


def keep_log(job: Job, status: str, log: bytes) -> None:
    """Keep what the worker printed next to the record, if the cell failed."""
    path = RunStore(job.runs).folder(Cell.model_validate(dict(job.cell))) / LOG
    with suppress(FerbenchError, OSError):
        if status != "ok" and log.strip():
            write_atomic(path, log)
        else:
            path.unlink(missing_ok=True)
