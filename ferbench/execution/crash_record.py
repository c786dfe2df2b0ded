"""What the parent leaves in a cell's folder when its worker could not."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ferbench.cells.method_plan import MethodPlan
from ferbench.cells.resolve import resolve
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError
from ferbench.execution.record_builder import RecordBuilder
from ferbench.execution.run_cell import sources_of
from ferbench.records.cell import Cell
from ferbench.records.files import write_atomic
from ferbench.records.schema import ErrorReport, Status
from ferbench.records.store import RunStore

LOG = "worker.log"


@dataclass(frozen=True)
class Birth:
    """When a worker was started."""

    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The time since then."""
        return time.monotonic() - self.clock


def leave_record(job: Job, registry: Registry, status: Status, error: ErrorReport, birth: Birth) -> None:
    """Write why the cell has no result. A result that is there stays, and so does the checkpoint.

    Raises FerbenchError where that is not possible: another process works on the cell, the folder cannot be written.
    """
    cell, store = Cell.model_validate(dict(job.cell)), RunStore(job.runs)
    with store.lock(cell):
        if store.is_done(cell):
            return
        resolved = resolve(cell, registry, sources_of(job))
        plan = MethodPlan.model_validate(dict(job.plan))
        record = RecordBuilder(job, resolved, plan, birth.at, birth.clock).record(status, error=error)
        # Processor time would be that of this process; the worker's is lost with it.
        of_worker = {"cpu_seconds": 0.0}
        measured = record.measured.model_copy(update=of_worker)
        store.write_result(cell, record.model_copy(update={"measured": measured}))


def keep_log(job: Job, status: str, log: bytes) -> None:
    """Keep what the worker printed next to the record, if the cell failed."""
    path = RunStore(job.runs).folder(Cell.model_validate(dict(job.cell))) / LOG
    with suppress(FerbenchError, OSError):
        if status != "ok" and log.strip():
            write_atomic(path, log)
        else:
            path.unlink(missing_ok=True)
