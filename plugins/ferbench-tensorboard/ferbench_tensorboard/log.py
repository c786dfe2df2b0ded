"""The event files of cells, which TensorBoard reads."""

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboardX import SummaryWriter

if TYPE_CHECKING:
    from ferbench.contract.events import EpochRow, Step
    from ferbench.records.cell import Cell
    from ferbench.records.schema import Record, RecordConfig

FOLDER = "tensorboard"
TEST = "test"
PLACES = {"epoch", "step", "stage"}
"""Fields of a history row that say where it belongs; they are not drawn."""


class Logs:
    """The logs of this process's cells. They are flushed after each epoch, so a killed process loses at most one."""

    def __init__(self) -> None:
        self._open: dict[str, SummaryWriter] = {}

    def begin(self, cell: "Cell", folder: Path, config: "RecordConfig") -> None:
        """Open the log of a cell with its configuration; a resumed run adds another file."""
        self.close(cell)
        writer = self._open[cell.cell_id] = _writer(folder)
        values = config.model_dump(mode="json", exclude_defaults=True)
        writer.add_text("config", f"```json\n{json.dumps(values, indent=2)}\n```")
        writer.flush()

    def step(self, cell: "Cell", step: "Step") -> None:
        """Write how far the run is."""
        self._open[cell.cell_id].add_scalar("done", step.step / step.steps, step.step)

    def epoch(self, cell: "Cell", epoch: "EpochRow") -> None:
        """Write every number of a row of the history."""
        writer = self._open[cell.cell_id]
        for tag, value in numbers(epoch.to_json()):
            writer.add_scalar(tag, value, epoch.step)
        writer.flush()

    def interrupted(self, cell: "Cell", reason: str) -> None:
        """Write the reason and close the log. Another process writes what follows."""
        if cell.cell_id in self._open:
            self._open[cell.cell_id].add_text("interrupted", reason)
        self.close(cell)

    def end(self, cell: "Cell", folder: Path, record: "Record") -> None:
        """Write the metrics of a record with a result, and the hyper-parameters that they belong to."""
        self.close(cell)
        if record.result is None:
            return
        scores = {f"test/{name}": value for name, value in record.result.scores().items() if value is not None}
        with _writer(folder) as writer:
            for tag, value in scores.items():
                writer.add_scalar(tag, value, record.result.steps)
            writer.add_hparams(hyper_parameters(cell, record.config), scores, name=TEST)

    def close(self, cell: "Cell") -> None:
        """Close the log of a cell, if this process has opened it."""
        if writer := self._open.pop(cell.cell_id, None):
            writer.close()


def _writer(folder: Path) -> SummaryWriter:
    """A new event file of a cell. Without the suffix, files that are opened within a second replace each other."""
    return SummaryWriter(str(folder / FOLDER), filename_suffix=f".{secrets.token_hex(4)}")


def numbers(row: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a row. Lists and tables get tags with slashes: `terms/supervised`, `mask_rate_per_class/3`."""
    for name, value in row.items():
        if not above and name in PLACES:
            continue
        tag = f"{above}{name}"
        if isinstance(value, list):
            value = {str(position): item for position, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from numbers(value, f"{tag}/")
        elif isinstance(value, int | float):
            yield tag, float(value)


def hyper_parameters(cell: "Cell", config: "RecordConfig") -> dict[str, str | float]:
    """The values that distinguish cells: row, labels, seed, and every field and option that is a number or a word."""
    named: dict[str, str | float] = {
        "row": cell.row,
        "labels": cell.budget.label(),
        "backbone": cell.backbone,
        "seed": cell.seed,
    }
    fields = {**{f"protocol.{name}": value for name, value in config.protocol.items()}, **config.method}
    return {**named, **{name: value for name, value in fields.items() if isinstance(value, str | int | float)}}
