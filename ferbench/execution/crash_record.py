"""The record that an executor writes if the process of a cell could not write it."""

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
from ferbench.execution.endings import finished
from ferbench.execution.record_builder import RecordBuilder
from ferbench.execution.run_cell import sources_of
from ferbench.records.cell import Cell
from ferbench.records.cell_log import CellLog
from ferbench.records.files import write_atomic
from ferbench.records.lease import Lease, LeaseHeldError
from ferbench.records.schema import ErrorReport, Record, Status
from ferbench.records.store import RunStore

LOG = "worker.log"
LAST_LINES = 30
MAX_LOG_BYTES = 1_000_000


def crash_record(
    job: Job, reason: str, *, log: bytes = b"", status: Status = "failed", seconds: float = 0.0
) -> Finished:
    """Write why a job has no result, if its process could not. Returns the event for the job's listener.

    `reason` is what the executor knows, such as "its process ended with code 1". `log` is the end of the text that the
    process printed. It is kept as `worker.log`, and its last line is added to the reason of a failure. `seconds` is how
    long the process ran. If there is a result, it stays, and the job has ended with it; without a result, an existing
    checkpoint stays. If the process was on another machine, this waits until its lease is over. Raises nothing: if the
    record cannot be written (another process works on the cell, or the folder is read-only), the event says so.
    """
    lines = log.decode("utf-8", "replace").strip().splitlines()
    message = f"{reason}: {lines[-1]}" if lines and status == "failed" else reason
    report = ErrorReport(type="WorkerDied", message=message, traceback="\n".join(lines[-LAST_LINES:]))
    try:
        if (existing := leave_record(job, status, report, seconds)) is not None:
            keep_log(job, "ok", b"")
            return finished(existing)
    except Exception as error:  # a plugin's code runs here too, and other cells do not depend on this one
        message += f" (and its record cannot be written: {error})"
    keep_log(job, status, log)
    return Finished(status=status, message=message)


def why_it_ended(job: Job, code: int, grace: float | None = None) -> str:
    """Why a worker could not report its own end. If it hung and was killed, `grace` is the number of seconds it had."""
    if grace is not None:
        return (
            f"its process did not stop within {grace:.0f} s after the {job.timeout:g} s of --timeout and was "
            "killed; run again with a longer --timeout to continue from the last checkpoint"
        )
    if code >= 0:
        return f"its process ended with code {code}"
    memory = ", perhaps because memory ran out" if code == -signal.SIGKILL else ""
    named = -code in {*signal.Signals}  # a real-time signal has no name
    return f"its process was killed by {signal.Signals(-code).name if named else f'signal {-code}'}{memory}"


def end_of_log(log: IO[bytes], begins: int = 0) -> bytes:
    """The end of the text that a process printed, from the byte `begins` on."""
    log.seek(max(begins, log.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
    return log.read(MAX_LOG_BYTES)


def leave_record(job: Job, status: Status, error: ErrorReport, seconds: float = 0.0) -> Record | None:
    """Write a record without a result, unless a result exists. Returns that if it is all that the job wanted.

    Raises FerbenchError if that fails: another process works on the cell, or the folder cannot be written.
    """
    cell, store = Cell.model_validate(dict(job.cell)), RunStore(job.runs)
    with store.lock(cell, _take):
        if store.is_done(cell):
            if job.needs_model:  # only the model was trained, and it is still needed
                return None
            store.clear(cell)
            return store.read(cell)
        resolved, plan = resolve(cell, load_registry(), sources_of(job)), MethodPlan.model_validate(dict(job.plan))
        record = RecordBuilder(job, resolved, plan).record(status, error=error)
        device = "" if job.device == "auto" else job.device
        # This process could only give its own processor time; the worker's is lost.
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
        record = record.model_copy(update=changes)
        store.write_result(cell, record)
        CellLog(store.folder(cell))(finished(record))
        return None


def _take(lease: Lease) -> None:
    """Take the lease of a cell whose process is gone. If it was on another machine, that takes some time to know."""
    try:
        lease.acquire()
    except LeaseHeldError as error:
        if error.owner and error.owner.is_alive:
            raise
        lease.outlast()


def keep_log(job: Job, status: str, log: bytes) -> None:
    """If the cell failed, keep the text that the worker printed next to the record."""
    path = RunStore(job.runs).folder(Cell.model_validate(dict(job.cell))) / LOG
    with suppress(FerbenchError, OSError):
        if status != "ok" and log.strip():
            write_atomic(path, log)
        else:
            path.unlink(missing_ok=True)
