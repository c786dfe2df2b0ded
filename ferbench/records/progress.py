"""Progress of a runs folder: what is done, what failed and why, what runs and where, what waits, and when it ends."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from ferbench.contract.events import Step
from ferbench.records.cell import Budget, Cell
from ferbench.records.cell_log import last_step
from ferbench.records.plans import read_plans
from ferbench.records.schema import Record, Status
from ferbench.records.store import RunStore

State = Literal["done", "failed", "running", "interrupted", "waiting"]

STATES: tuple[State, ...] = get_args(State)
RECENT = 50
"""Cells whose median time tells how long the next ones take."""
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
class RunningCell:
    """A cell that a process works on: who, since when, and the newest step that is told."""

    cell: Cell
    host: str
    pid: int
    since: str
    step: Step | None


@dataclass(frozen=True)
class RunsProgress:
    """Counts per series, one line per failure and per unreadable record, who works, and what it cost.

    `seconds` are those of all records. `eta` is how many more it takes at the pace of the last cells, and None where
    nothing is left, nothing runs, or none has ended yet.
    """

    counts: Mapping[Series, Counter[State]]
    failures: Mapping[Path, str]
    broken: Mapping[Path, str]
    running: tuple[RunningCell, ...]
    states: Mapping[Cell, State]
    seconds: float
    eta: float | None


def progress_of(store: RunStore) -> RunsProgress:
    """Read every record, every running.json and every plan below the root."""
    states: dict[Cell, State] = {}
    failures: dict[Path, str] = {}
    broken: dict[Path, str] = {}
    running: list[RunningCell] = []
    seconds: list[float] = []
    for path, found in store.iterate():
        if not isinstance(found, Record):
            broken[path] = found.reason
            continue
        states[found.cell] = _OF_STATUS[found.status]
        seconds.append(found.measured.wall_seconds)
        if found.status != "ok":
            failures[path.parent] = f"{found.status}: {found.error.line if found.error else 'no reason recorded'}"
    for marker, held in store.begun():
        if held:
            states[marker.cell] = "running"
            step = last_step(store.folder(marker.cell))
            running.append(RunningCell(marker.cell, marker.host, marker.pid, marker.started_at, step))
        else:  # an attempt that failed has left a record, which says more
            states.setdefault(marker.cell, "interrupted")
    for plan in read_plans(store.root):
        for cell in plan.cells:
            states.setdefault(cell, "waiting")
    counts: dict[Series, Counter[State]] = {}
    for cell, state in states.items():
        series = Series(cell.protocol, cell.dataset_label, cell.budget, cell.row_label)
        counts.setdefault(series, Counter())[state] += 1
    ordered = sorted(counts.items(), key=lambda item: item[0].order())
    left = sum(state in ("waiting", "running") for state in states.values())
    eta = median(seconds[-RECENT:]) * left / len(running) if seconds and running else None
    return RunsProgress(dict(ordered), failures, broken, tuple(running), states, sum(seconds), eta)
