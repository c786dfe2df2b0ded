"""What a grid will cost, from the records that are there."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from ferbench.records.cell import Cell, canonical_json
from ferbench.records.schema import Record


def estimated_seconds(cells: Sequence[Cell], records: Iterable[Record]) -> float | None:
    """How long the cells take one after the other, by records of the same recipe and backbone.

    Those of the same method count where there are any. None where some cell has no such record.
    """
    by_method: dict[tuple[object, ...], list[float]] = defaultdict(list)
    by_backbone: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for record in records:
        if record.status == "ok" and record.cell.test_on is None:
            by_method[_like(record.cell), record.cell.row].append(record.measured.wall_seconds)
            by_backbone[_like(record.cell)].append(record.measured.wall_seconds)
    total = 0.0
    for cell in cells:
        if cell.test_on is not None:  # a pass over some images
            continue
        found = by_method.get((_like(cell), cell.row)) or by_backbone.get(_like(cell))
        if not found:
            return None
        total += median(found)
    return total


def _like(cell: Cell) -> tuple[object, ...]:
    changed = canonical_json(dict(cell.overrides.protocol))
    return cell.protocol, cell.dataset, cell.backbone, cell.precision, changed
