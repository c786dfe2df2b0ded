"""The names of a cell's row in a table, for people and for the command line."""

from collections.abc import Mapping
from typing import Literal

from ferbench.records.cell import Cell, canonical_json
from ferbench.records.names import DESCRIBED, RowName
from ferbench.records.schema import Record

BASELINES = ("supervised@weak", "supervised@strong")
PROBE = "linear-probe"
"""The row that shows what initial weights already know; mandatory if there are any. Supervised rows fine-tune them."""
TITLES = {"supervised@weak": "supervised (weak views)", "supervised@strong": "supervised (strong views)"}

VariantTitles = Mapping[tuple[str, str, str], str]
"""Titles of variants of methods, by distribution, method and variant, as plugins register them."""


def row_name(cell: Cell) -> str:
    """Return the row's name on the command line, with the overrides of its method, if any."""
    return cell.row + _bracketed(cell)


def row_title(record: Record) -> str:
    """Return the row's name for people: `supervised (weak views)`, `fixmatch (released), leaf head`."""
    cell, plugin = record.cell, record.plugin
    variant = "" if cell.variant == DESCRIBED else f" ({cell.variant})"
    own = plugin.variant_title or TITLES.get(str(RowName(cell.method, cell.variant)))
    title = own or f"{plugin.title or cell.method}{variant}"
    head = "" if cell.head is None else f", {cell.head} head"
    return title + head + _bracketed(cell)


def titled(record: Record, titles: VariantTitles) -> Record:
    """Return the record with the title of its variant: records older than such titles get the one of their plugin."""
    title = titles.get((record.plugin.distribution, record.cell.method, record.cell.variant))
    if title is None or record.plugin.variant_title is not None:
        return record
    return record.model_copy(update={"plugin": record.plugin.model_copy(update={"variant_title": title})})


def row_changes(cell: Cell, kind: Literal["method", "protocol"]) -> str:
    """Return the overrides of one kind as `steps=60, threshold=0.5`; the protocol's have `compile` too."""
    fields = cell.overrides.method if kind == "method" else {**cell.overrides.protocol, **cell.compiled}
    return ", ".join(f"{name}={canonical_json(value).decode()}" for name, value in sorted(fields.items()))


def _bracketed(cell: Cell) -> str:
    changes = row_changes(cell, "method")
    return changes and f" [{changes}]"
