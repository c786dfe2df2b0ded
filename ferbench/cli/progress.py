"""What people see while cells run: one bar per cell on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ferbench.cli.output import shown_row
from ferbench.contract.events import Epoch, EpochRow, Event, Finished, Notice, Started, Step
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.render.numbers import duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ferbench.records.cell import Cell

LINE_SECONDS = 60.0
"""Seconds between two lines with the remaining time, if there are no bars."""
_log = logging.getLogger(__name__)


class RunDisplay:
    """Receives the events of an executor. It is a context manager that controls the terminal while cells run.

    An error while events are shown is logged and stops nothing: a closed pipe or terminal must not cost a result.
    """

    def __init__(self, jobs: Sequence[Job], registry: Registry) -> None:
        self._total, self._registry = len(jobs), registry
        self._part_done: dict[str, float] = {}
        self._ended: set[str] = set()
        self._began = self._told = time.monotonic()
        self._has_begun = False
        self._bars = _bars(len(jobs)) if sys.stdout.isatty() and jobs else None
        self._bar_of: dict[str, TaskID] = {}
        self._with_backbone = len({job.cell["backbone"] for job in jobs}) > 1
        self._noticed: set[str] = set()

    def __enter__(self) -> "RunDisplay":
        if self._bars:
            with _harmless():
                self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars:
            with _harmless():
                self._bars.stop()

    def __call__(self, job: Job, event: Event) -> None:
        from ferbench.records.cell import Cell

        with _harmless():
            cell = Cell.model_validate(dict(job.cell))
            self._count(cell.cell_id, event)
            name = cell_name(self._registry, cell, with_backbone=self._with_backbone)
            self._say(name, event)
            if self._bars:
                self._move(self._bars, cell.cell_id, name, event)

    def _say(self, name: str, event: Event) -> None:
        if isinstance(event, Finished):
            self._print(f"[{len(self._ended)}/{self._total}] {name}: {outcome(event)}")
        elif isinstance(event, Notice) and event.text not in self._noticed:
            self._noticed.add(event.text)
            self._print(f"{name}: {event.text}")
        elif isinstance(event, Started) and self._bars is None:
            self._print(f"{name}: started")
        elif isinstance(event, Epoch) and self._bars is None and event.row.epoch % 5 == 0:
            self._print(f"{name}: step {event.row.step}  {epoch_line(event.row)}")

    def _count(self, key: str, event: Event) -> None:
        """Count what is done. Without bars, print a line about it every minute."""
        if not self._has_begun and isinstance(event, Started | Step):  # the time until a cluster starts says nothing
            self._began, self._has_begun = time.monotonic(), True
        if isinstance(event, Finished):
            self._ended.add(key)
            self._part_done[key] = 1.0
        elif isinstance(event, Step):
            self._part_done[key] = event.step / event.steps
        now, done = time.monotonic(), sum(self._part_done.values())
        if self._bars is None and now - self._told >= LINE_SECONDS and done:
            self._told = now
            left = (now - self._began) / done * (self._total - done)
            self._print(f"{len(self._ended)} of {self._total} cells ended, about {duration(left)} left")

    def _print(self, line: str) -> None:
        if self._bars:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            click.echo(f"{time.strftime('%H:%M:%S')} {line}")
            sys.stdout.flush()

    def _move(self, bars: "Progress", key: str, name: str, event: Event) -> None:
        """Move the bar of a cell, which starts with its first event, and the bar of all cells."""
        if isinstance(event, (Started, Step, Epoch)) and key not in self._bar_of:
            self._bar_of[key] = bars.add_task(name, total=None, count="", rate="", line="")
        if isinstance(event, Step):
            bar = self._bar_of[key]
            speed = bars.tasks[bars.task_ids.index(bar)].speed
            rate, count = f"{speed:.1f} steps/s" if speed else "", f"{event.step}/{event.steps}"
            bars.update(bar, completed=event.step, total=event.steps, count=count, rate=rate)
        elif isinstance(event, Epoch):
            bars.update(self._bar_of[key], completed=event.row.step, line=epoch_line(event.row))
        elif isinstance(event, Finished) and key in self._bar_of:
            bars.remove_task(self._bar_of.pop(key))
        # Counts parts of cells, so that the remaining time is known before the first cell has ended.
        done, count = sum(self._part_done.values()), f"{len(self._ended)}/{self._total}"
        bars.update(bars.task_ids[0], completed=done, count=count)


def _bars(total: int) -> "Progress":
    """Rich's live progress: one line for all cells and one per running cell, with more detail on a wide terminal."""
    # Importing rich takes too long for a command that only prints help.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    width = Console().width
    named = Column(max_width=max(20, width - 42), no_wrap=True, overflow="ellipsis")
    columns = (
        (0, TextColumn("{task.description}", table_column=named)),
        (0, BarColumn(bar_width=20 if width >= 100 else 10)),
        (0, TextColumn("{task.fields[count]}")),
        (116, TextColumn("{task.fields[rate]}")),
        (0, TimeRemainingColumn(compact=True)),
        (140, TextColumn("[dim]{task.fields[line]}")),
    )
    bars = Progress(*(column for least, column in columns if width >= least))
    bars.add_task("all cells", total=total, count=f"0/{total}", rate="", line="")
    return bars


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        _log.info("the display failed; the run goes on", exc_info=True)


def cell_name(registry: Registry, cell: "Cell", *, with_backbone: bool = False) -> str:
    """`fixmatch synthfaces ratio-0.05 seed 0`, with the backbone if cells differ in it."""
    backbone = f" {cell.backbone}" if with_backbone else ""
    test_on = f" on {cell.test_on}" if cell.test_on else ""
    return f"{shown_row(registry, cell.row)} {cell.dataset} {cell.budget.label()}{backbone} seed {cell.seed}{test_on}"


def outcome(event: Finished) -> str:
    """How a cell ended, on one line."""
    if event.metrics is None:
        return f"{event.status}: {event.message}"
    from ferbench.records.metrics import shown_in

    scores = (f"{metric.title} {metric.text(event.metrics.get(metric.key))}" for metric in shown_in("summary"))
    return f"{', '.join(scores)}, {event.wall_seconds:.0f} s"


def epoch_line(row: EpochRow) -> str:
    """Loss and mask rate of an epoch. Values that need hidden labels are known only after training."""
    parts = [f"loss {row.loss:.3f}"]
    if row.mask_rate is not None:
        parts.append(f"mask {100 * row.mask_rate:.0f} %")
    return "  ".join(parts)
