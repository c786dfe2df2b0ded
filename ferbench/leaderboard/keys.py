"""Which table a cell stands in, and what its row is called."""

from collections.abc import Mapping
from dataclasses import dataclass

from ferbench.contract.protocol import Headline
from ferbench.records.cell import Budget, Cell, canonical_json
from ferbench.records.schema import Record, Result

BASELINES = ("supervised@weak", "supervised@strong")
TITLES = {"supervised@weak": "supervised (weak views)", "supervised@strong": "supervised (strong views)"}


@dataclass(frozen=True)
class Key:
    """What all rows of a table have in common. Rows that differ in any of it never share a table."""

    protocol: str
    dataset: str
    classes: str
    pool: str | None
    test_on: str | None
    budget: Budget
    backbone: str
    init: str
    precision: str
    data: str
    test: str
    folds: int | None
    headline: Headline
    class_names: tuple[str, ...]
    protocol_overrides: str
    standard: bool

    def order(self) -> tuple[object, ...]:
        """Sort key of tables."""
        place = (self.protocol, self.dataset, self.classes, self.pool or "", self.test_on or "", *self.budget.order())
        return (
            *place,
            self.backbone,
            self.init,
            self.precision,
            self.data,
            self.test,
            self.folds or 0,
            self.headline,
            self.class_names,
            self.protocol_overrides,
        )


def table_key(record: Record, result: Result) -> Key:
    """The table that a record's row stands in."""
    cell = record.cell
    changes, fingerprints = cell.overrides.get("protocol", {}), result.fingerprints
    return Key(
        protocol=cell.protocol,
        dataset=cell.dataset,
        classes=cell.classes,
        pool=cell.pool,
        test_on=cell.test_on,
        budget=cell.budget,
        backbone=cell.backbone,
        init=cell.init,
        precision=cell.precision,
        data=fingerprints.data,
        # The test images of a fold are those of its seed; the subjects of all folds are what the seeds share.
        test=fingerprints.folds or fingerprints.test,
        folds=_folds(record) if fingerprints.folds else None,
        headline=record.headline,
        class_names=tuple(result.class_names),
        protocol_overrides=_changes(changes),
        standard=record.standard,
    )


def _folds(record: Record) -> int | None:
    folds = record.config.protocol.get("folds")
    return folds if isinstance(folds, int) and folds > 0 else None


def row_name(cell: Cell) -> str:
    """The row's name on the command line, with the overrides of its method where there are some."""
    changes = _changes(cell.overrides.get("method", {}))
    return f"{cell.row} [{changes}]" if changes else cell.row


def row_title(record: Record) -> str:
    """The row's name for people: `supervised (weak views)`, `fixmatch (released), leaf head`."""
    cell = record.cell
    variant = "" if cell.variant == "described" else f" ({cell.variant})"
    title = TITLES.get(cell.row.partition("+")[0], f"{record.plugin.title or cell.method}{variant}")
    head = "" if cell.head is None else f", {cell.head} head"
    changes = _changes(cell.overrides.get("method", {}))
    return f"{title}{head} [{changes}]" if changes else f"{title}{head}"


def _changes(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={canonical_json(value).decode()}" for name, value in sorted(fields.items()))
