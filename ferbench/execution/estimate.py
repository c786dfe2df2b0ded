"""Estimate the cost of a grid from existing records."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from ferbench.execution.devices import visible_gpus
from ferbench.execution.provenance import processor
from ferbench.records.cell import Cell, canonical_json
from ferbench.records.schema import Record

HERE = ("local", "inline")
"""Executors that run cells on this machine."""


def estimated_seconds(cells: Sequence[Cell], records: Iterable[Record]) -> float | None:
    """Return the seconds that the cells take one after another, from records with the same recipe and backbone.

    Records of the same method are preferred. None if there is no such record for some cell.
    """
    by_method: dict[tuple[object, ...], list[float]] = defaultdict(list)
    by_backbone: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for record in records:
        if record.status == "ok" and record.cell.test_on is None:
            by_method[_like(record.cell), record.cell.row].append(record.measured.wall_seconds)
            by_backbone[_like(record.cell)].append(record.measured.wall_seconds)
    total = 0.0
    for cell in cells:
        if cell.test_on is not None:  # a test takes only one pass over some images
            continue
        found = by_method.get((_like(cell), cell.row)) or by_backbone.get(_like(cell))
        if not found:
            return None
        total += median(found)
    return total


def made_there(executor: str, device: str) -> Callable[[Record], bool]:
    """Return whether a record was made where cells of this executor and `--device` would run.

    An executor of a cluster made it itself. The others run here: the record has this processor, and a GPU if they do.
    """
    if executor not in HERE:
        return lambda record: record.measured.executor == executor
    here, on_gpu = processor(), device != "cpu" and bool(visible_gpus())
    return lambda record: record.environment.get("cpu") == here and (record.measured.device != "cpu") == on_gpu


def _like(cell: Cell) -> tuple[object, ...]:
    changed = canonical_json(dict(cell.overrides.protocol))
    return cell.protocol, cell.dataset, cell.backbone, cell.precision, changed
