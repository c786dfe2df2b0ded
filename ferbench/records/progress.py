"""Progress of a runs folder: cells that are done, failed, running or waiting, and the remaining time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from ferbench.contract.events import Step
from ferbench.records.cell import Budget, Cell
from ferbench.records.cell_log import newest_step
from ferbench.records.plans import read_plans
from ferbench.records.schema import Record, Status
from ferbench.records.store import RunStore

State = Literal["done", "failed", "running", "interrupted", "waiting"]

STATES: tuple[State, ...] = get_args(State)
RECENT = 50
"""Number of latest cells whose median time estimates the time of the next ones."""
_OF_STATUS: Mapping[Status, State] = {
    "ok": "done",
    "failed": "failed",
    "diverged": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Series:
    """Cells that are counted together: they agree in these fields and differ in seed, backbone or initial weights."""

    protocol: str
    dataset: str
    budget: Budget
    row: str

    def order(self) -> tuple[object, ...]:
        """Sort key."""
        return (self.protocol, self.dataset, *self.budget.order(), self.row)


@dataclass(frozen=True)
class RunningCell:
    """A cell that a process works on: host, process, start time, newest step, and the seconds of a whole cell.

    Step and seconds are None until its log has them.
    """

    cell: Cell
    host: str
    pid: int
    since: str
    step: Step | None
    pace: float | None

    @property
    def part(self) -> float:
        """The share of its steps that are done, from 0 to 1."""
        return min(1.0, self.step.step / self.step.steps) if self.step and self.step.steps > 0 else 0.0


@dataclass(frozen=True)
class RunsProgress:
    """Counts per series, one line per failure and per unreadable record, running cells, and times.

    `seconds` is the sum over all records and running cells. `pace` is the number of seconds that a cell takes: those of
    the last cells that ended, or an estimate from the steps of running ones; None if neither exists. `eta` is the
    remaining time in seconds at that pace; None without a pace, or if nothing is left or nothing runs. `folders` is the
    folder of every cell: the root may be a part of the runs folder. `asked` has the arguments of each `ferbench run`
    whose cells wait, oldest first.
    """

    counts: Mapping[Series, Counter[State]]
    failures: Mapping[Path, str]
    broken: Mapping[Path, str]
    running: tuple[RunningCell, ...]
    states: Mapping[Cell, State]
    seconds: float
    pace: float | None
    eta: float | None
    folders: Mapping[Cell, Path]
    asked: tuple[tuple[str, ...], ...]


def progress_of(store: RunStore) -> RunsProgress:
    """Read every record, every running.json and every plan below the root."""
    states: dict[Cell, State] = {}
    folders: dict[Cell, Path] = {}
    failures: dict[Path, str] = {}
    broken: dict[Path, str] = {}
    running: list[RunningCell] = []
    last_tried: dict[Cell, str] = {}
    cost, ended = 0.0, list[tuple[str, float]]()
    for path, found in store.iterate():
        if not isinstance(found, Record):
            broken[path] = found.reason
            continue
        states[found.cell], folders[found.cell] = _OF_STATUS[found.status], path.parent
        cost += found.measured.wall_seconds
        ended.append((found.measured.finished_at or "", found.measured.wall_seconds))
        if found.status != "ok":
            last_tried[found.cell] = max(found.measured.started_at, found.measured.finished_at or "")
            failures[path.parent] = f"{found.status}: {found.error.line if found.error else 'no reason recorded'}"
    for folder, marker, held in store.begun():
        folders[marker.cell] = folder
        if held:
            states[marker.cell] = "running"
            about = newest_step(folder)
            running.append(RunningCell(marker.cell, marker.host, marker.pid, marker.started_at, *about))
        else:  # if an attempt failed, its record says more, so it keeps its state
            states.setdefault(marker.cell, "interrupted")
            last_tried[marker.cell] = max(last_tried.get(marker.cell, ""), marker.started_at)
    plans = list(read_plans(store.root))
    for plan in plans:
        for cell in plan.cells:
            if cell not in states:
                states[cell] = "interrupted" if store.is_cancelled(cell) else "waiting"
                folders[cell] = store.folder(cell)
            elif last_tried.get(cell, plan.made_at) < plan.made_at and not store.is_cancelled(cell):
                states[cell] = "waiting"  # requested again after it failed or was interrupted
                failures.pop(folders[cell], None)
    counts: dict[Series, Counter[State]] = {}
    for cell, state in states.items():
        series = Series(cell.protocol, cell.dataset_label, cell.budget, cell.row_label)
        counts.setdefault(series, Counter())[state] += 1
    ordered = sorted(counts.items(), key=lambda item: item[0].order())
    lasting = [_seconds_since(one.since) for one in running]
    pace = _pace(ended, running)
    left = sum(state in ("waiting", "running") for state in states.values()) - sum(one.part for one in running)
    eta = pace * left / len(running) if pace is not None and running else None
    asked = tuple(plan.command for plan in plans if any(states[cell] == "waiting" for cell in plan.cells))
    return RunsProgress(
        counts=dict(ordered),
        failures=failures,
        broken=broken,
        running=tuple(running),
        states=states,
        seconds=cost + sum(lasting),
        pace=pace,
        eta=eta,
        folders=folders,
        asked=asked,
    )


def _pace(ended: Sequence[tuple[str, float]], running: Sequence[RunningCell]) -> float | None:
    """The seconds of a cell: of those that ended last, by their times, or else of those that run."""
    recent = [seconds for _, seconds in sorted(ended)[-RECENT:]]
    known = recent or [one.pace for one in running if one.pace is not None]
    return median(known) if known else None


def _seconds_since(began: str) -> float:
    """Seconds since a time; at least 0, since another machine may have another clock. 0 if the text is not a time."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(began)).total_seconds())
    except (ValueError, TypeError):  # somebody has changed the file
        return 0.0
