"""What people see while cells run: one bar per cell on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
MEASURED_SECONDS = 30.0
"""Seconds of steps after which the remaining time is known."""
_log = logging.getLogger(__name__)


class Pace:
    """How fast `cells` cells go together. The first step event of a cell says what was done before, by a checkpoint."""

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._began: float | None = None
        self._before: dict[str, float] = {}
        self._done: dict[str, float] = {}

    @property
    def done(self) -> float:
        """The number of cells that are done, parts included."""
        return sum(self._done.values())

    @property
    def seconds(self) -> float:
        """The time in which steps were measured; 0 before the first step event."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def count(self, key: str, part: float) -> None:
        """Note that this part of a cell is done, from 0 to 1."""
        if self._began is None and part < 1:  # a cell that ends before its first step says nothing
            self._began = time.monotonic()
        self._before.setdefault(key, part)
        self._done[key] = part

    def seconds_left(self) -> float | None:
        """The remaining time at the present pace; None if nothing is measured yet."""
        measured = self.done - sum(self._before.values())
        return self.seconds / measured * (self._cells - self.done) if measured > 0 else None


class RunDisplay:
    """Receives the events of an executor. It is a context manager that controls the terminal while cells run.

    `on_estimate` is called once with the first estimate of the remaining seconds, while the bars are away. An error
    while events are shown is logged and stops nothing: a closed pipe or terminal must not cost a result.
    """

    def __init__(
        self, jobs: Sequence[Job], registry: Registry, on_estimate: Callable[[float], None] | None = None
    ) -> None:
        self._total, self._registry, self._on_estimate = len(jobs), registry, on_estimate
        self._pace = Pace(len(jobs))
        self._ended: set[str] = set()
        self._told = -LINE_SECONDS
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
        """Count what is done. When the pace is known, and every minute, tell the remaining time."""
        if isinstance(event, Finished):
            self._ended.add(key)
            self._pace.count(key, 1.0)
        elif isinstance(event, Step):
            self._pace.count(key, event.step / event.steps)
        if self._pace.seconds < max(MEASURED_SECONDS, self._told + LINE_SECONDS):
            return
        if (left := self._pace.seconds_left()) is not None:
            self._told = self._pace.seconds
            self._tell_left(left)

    def _tell_left(self, seconds: float) -> None:
        """Print a line without bars, which show it themselves. The first estimate is passed on."""
        if self._bars is None:
            self._print(f"{len(self._ended)} of {self._total} cells ended, about {duration(seconds)} left")
        if (told := self._on_estimate) is not None:
            self._on_estimate = None
            with self._without_bars():
                told(seconds)

    @contextmanager
    def _without_bars(self) -> Iterator[None]:
        if self._bars:
            self._bars.stop()
        yield
        if self._bars:
            self._bars.start()

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
        count = f"{len(self._ended)}/{self._total}"
        bars.update(bars.task_ids[0], completed=self._pace.done, count=count)


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
