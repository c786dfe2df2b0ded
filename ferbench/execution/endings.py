"""The last event of a cell, as displays and executors read it."""

from typing import TYPE_CHECKING

from ferbench.contract.events import Finished
from ferbench.errors import FerbenchError, InterruptedRun
from ferbench.records.lease import LeaseLostError

if TYPE_CHECKING:
    from ferbench.records.schema import Record


def finished(record: "Record") -> Finished:
    """Return the last event of a cell that has a record, with or without a result."""
    return Finished(
        status=record.status,
        message=record.error.line if record.error else "",
        metrics=record.result.metrics.model_dump(exclude={"per_class_recall"}) if record.result else None,
        wall_seconds=record.measured.wall_seconds,
    )


def unfinished(error: FerbenchError) -> Finished:
    """Return the last event of a cell without a record: interrupted, not started, or taken over by another process."""
    status = "interrupted" if isinstance(error, InterruptedRun | LeaseLostError) else "failed"
    return Finished(status=status, message=str(error))
