"""Progress of a runs folder: what is done, what failed and why, what runs, what was interrupted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ferbench.records.cell import Budget, Cell
from ferbench.records.schema import Record, Status
from ferbench.records.store import RunStore

State = Literal["done", "failed", "running", "interrupted"]

STATES: tuple[State, ...] = get_args(State)
_OF_STATUS: Mapping[Status, State] = {
    "ok": "done",
    "failed": "failed",
    "diverged": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Series:
    """The cells that differ only in seed, or in what a person rarely varies."""

    protocol: str
    dataset: str
    budget: Budget
    row: str

    def order(self) -> tuple[object, ...]:
        """Sort key."""
        return (self.protocol, self.dataset, *self.budget.order(), self.row)


@dataclass(frozen=True)
class RunsProgress:
    """Counts per series, and one line per failure and per unreadable record."""

    counts: Mapping[Series, Counter[State]]
    failures: Mapping[Path, str]
    broken: Mapping[Path, str]


def progress_of(store: RunStore) -> RunsProgress:
    """Read every record and every running.json below the root."""
    states: dict[Cell, State] = {}
    failures: dict[Path, str] = {}
    broken: dict[Path, str] = {}
    for path, found in store.iterate():
        if not isinstance(found, Record):
            broken[path] = found.reason
            continue
        states[found.cell] = _OF_STATUS[found.status]
        if found.status != "ok":
            failures[path.parent] = f"{found.status}: {found.error.line if found.error else 'no reason recorded'}"
    for marker, held in store.begun():
        if held:
            states[marker.cell] = "running"
        else:  # an attempt that failed has left a record, which says more
            states.setdefault(marker.cell, "interrupted")
    counts: dict[Series, Counter[State]] = {}
    for cell, state in states.items():
        series = Series(cell.protocol, cell.dataset_label, cell.budget, cell.row_label)
        counts.setdefault(series, Counter())[state] += 1
    ordered = sorted(counts.items(), key=lambda item: item[0].order())
    return RunsProgress(dict(ordered), failures, broken)
