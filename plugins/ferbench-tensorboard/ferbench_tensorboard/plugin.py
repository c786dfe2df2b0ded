"""Writes run events for TensorBoard; imports nothing heavy."""

from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from ferbench.contract.events import EpochRow, Step
    from ferbench.records.cell import Cell
    from ferbench.records.schema import Record, RecordConfig
    from ferbench_tensorboard.log import Logs

_logs: "list[Logs]" = []


@hookimpl
def ferbench_run_started(cell: "Cell", folder: Path, config: "RecordConfig") -> None:
    """Write the configuration into the log that the next events go to."""
    _of_this_process().begin(cell, folder, config)


@hookimpl
def ferbench_step_taken(cell: "Cell", step: "Step") -> None:
    """How far it is."""
    _of_this_process().step(cell, step)


@hookimpl
def ferbench_epoch_finished(cell: "Cell", epoch: "EpochRow") -> None:
    """Write every number of the epoch."""
    _of_this_process().epoch(cell, epoch)


@hookimpl
def ferbench_run_interrupted(cell: "Cell", reason: str) -> None:
    """Why it ended."""
    _of_this_process().interrupted(cell, reason)


@hookimpl
def ferbench_run_finished(cell: "Cell", folder: Path, record: "Record") -> None:
    """Write the test metrics, in another process than the one that trained."""
    _of_this_process().end(cell, folder, record)


def _of_this_process() -> "Logs":
    if not _logs:
        from ferbench_tensorboard.log import Logs

        _logs.append(Logs())
    return _logs[0]
