"""What people and the command line call the row of a cell in a table."""

from typing import Literal

from ferbench.records.cell import DESCRIBED, Cell, canonical_json
from ferbench.records.names import RowName
from ferbench.records.schema import Record

BASELINES = ("supervised@weak", "supervised@strong")
TITLES = {"supervised@weak": "supervised (weak views)", "supervised@strong": "supervised (strong views)"}


def row_name(cell: Cell) -> str:
    """The row's name on the command line, with the overrides of its method where there are some."""
    return cell.row + _bracketed(cell)


def row_title(record: Record) -> str:
    """The row's name for people: `supervised (weak views)`, `fixmatch (released), leaf head`."""
    cell = record.cell
    variant = "" if cell.variant == DESCRIBED else f" ({cell.variant})"
    own = str(RowName(cell.method, cell.variant))
    title = TITLES.get(own, f"{record.plugin.title or cell.method}{variant}")
    head = "" if cell.head is None else f", {cell.head} head"
    return title + head + _bracketed(cell)


def row_changes(cell: Cell, kind: Literal["method", "protocol"]) -> str:
    """The overrides of one kind as `steps=60, threshold=0.5`."""
    fields = cell.overrides.method if kind == "method" else cell.overrides.protocol
    return ", ".join(f"{name}={canonical_json(value).decode()}" for name, value in sorted(fields.items()))


def _bracketed(cell: Cell) -> str:
    changes = row_changes(cell, "method")
    return changes and f" [{changes}]"
