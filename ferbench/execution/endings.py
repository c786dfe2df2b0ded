"""The last event of a cell, as displays and executors read it."""

from typing import TYPE_CHECKING

from ferbench.contract.events import Finished
from ferbench.errors import FerbenchError, InterruptedRun

if TYPE_CHECKING:
    from ferbench.records.schema import Record


def finished(record: "Record") -> Finished:
    """The end of a cell that has left a record, with a result or without."""
    return Finished(
        status=record.status,
        message=record.error.line if record.error else "",
        metrics=record.result.metrics.model_dump(exclude={"per_class_recall"}) if record.result else None,
        wall_seconds=record.measured.wall_seconds,
    )


def unfinished(error: FerbenchError) -> Finished:
    """The end of a cell that has left none: it was interrupted, or could not begin."""
    status = "interrupted" if isinstance(error, InterruptedRun) else "failed"
    return Finished(status=status, message=str(error))
