"""Names of rows in tables: their parts, and what people and the command line call them."""

from dataclasses import dataclass
from typing import Literal

from ferbench.records.cell import DESCRIBED, Cell, canonical_json
from ferbench.records.schema import Record

BASELINES = ("supervised@weak", "supervised@strong")
TITLES = {"supervised@weak": "supervised (weak views)", "supervised@strong": "supervised (strong views)"}


@dataclass(frozen=True)
class RowName:
    """The name of a row in a table: `method[@variant][+head]`; no variant is the method's first."""

    method: str
    variant: str | None = None
    head: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RowName":
        """The parts of a name, however a person has written it."""
        rest, _, head = text.partition("+")
        method, _, variant = rest.partition("@")
        return cls(method, variant or None, head or None)


def row_name(cell: Cell) -> str:
    """The row's name on the command line, with the overrides of its method where there are some."""
    changes = row_changes(cell, "method")
    return f"{cell.row} [{changes}]" if changes else cell.row


def row_title(record: Record) -> str:
    """The row's name for people: `supervised (weak views)`, `fixmatch (released), leaf head`."""
    cell = record.cell
    variant = "" if cell.variant == DESCRIBED else f" ({cell.variant})"
    title = TITLES.get(cell.row.partition("+")[0], f"{record.plugin.title or cell.method}{variant}")
    head = "" if cell.head is None else f", {cell.head} head"
    changes = row_changes(cell, "method")
    return f"{title}{head} [{changes}]" if changes else f"{title}{head}"


def row_changes(cell: Cell, kind: Literal["method", "protocol"]) -> str:
    """The overrides of one kind as `steps=60, threshold=0.5`."""
    fields = cell.overrides.get(kind, {})
    return ", ".join(f"{name}={canonical_json(value).decode()}" for name, value in sorted(fields.items()))
