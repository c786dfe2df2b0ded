"""What a person sees while cells run: a bar per cell on a terminal, plain lines elsewhere."""

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
"""How often the time that is left is printed where there are no bars."""
_log = logging.getLogger(__name__)


class RunDisplay:
    """Receives the events of an executor; a context manager that owns the terminal while cells run.

    What goes wrong in showing them is logged and stops nothing: a closed pipe or terminal must not cost a result.
    """

    def __init__(self, jobs: Sequence[Job], registry: Registry) -> None:
        self._total, self._registry = len(jobs), registry
        self._part_done: dict[str, float] = {}
        self._ended: set[str] = set()
        self._began = self._told = time.monotonic()
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
        """What is done, and where no bar shows it a line of it every minute."""
        if isinstance(event, Finished):
            self._ended.add(key)
            self._part_done[key] = 1.0
        elif isinstance(event, Step):
            self._part_done[key] = event.step / event.steps
        now, done = time.monotonic(), sum(self._part_done.values())
        if self._bars is None and now - self._told >= LINE_SECONDS and done:
            self._told = now
            left = (now - self._began) / done * (self._total - done)
            self._print(f"{len(self._ended)} of {self._total} cells done, about {duration(left)} left")

    def _print(self, line: str) -> None:
        if self._bars:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            click.echo(f"{time.strftime('%H:%M:%S')} {line}")
            sys.stdout.flush()

    def _move(self, bars: "Progress", key: str, name: str, event: Event) -> None:
        """The bar of a cell, begun when the first is heard of it, and that of all cells."""
        if isinstance(event, (Started, Step, Epoch)) and key not in self._bar_of:
            self._bar_of[key] = bars.add_task(name, total=None, rate="", line="")
        if isinstance(event, Step):
            bar = self._bar_of[key]
            speed = bars.tasks[bars.task_ids.index(bar)].speed
            bars.update(bar, completed=event.step, total=event.steps, rate=f"{speed:.1f} steps/s" if speed else "")
        elif isinstance(event, Epoch):
            bars.update(self._bar_of[key], completed=event.row.step, line=epoch_line(event.row))
        elif isinstance(event, Finished):
            if key in self._bar_of:
                bars.remove_task(self._bar_of.pop(key))
            bars.advance(bars.task_ids[0])


def _bars(total: int) -> "Progress":
    """Rich's live progress: one line for the whole and one per running cell, as detailed as the terminal is wide."""
    # rich takes longer to import than help may last.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    width = Console().width
    named = Column(max_width=max(20, width - 42), no_wrap=True, overflow="ellipsis")
    columns = (
        (0, TextColumn("{task.description}", table_column=named)),
        (0, BarColumn(bar_width=20 if width >= 100 else 10)),
        (0, MofNCompleteColumn()),
        (116, TextColumn("{task.fields[rate]}")),
        (0, TimeRemainingColumn(compact=True)),
        (140, TextColumn("[dim]{task.fields[line]}")),
    )
    bars = Progress(*(column for least, column in columns if width >= least))
    bars.add_task("all cells", total=total, rate="", line="")
    return bars


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        _log.info("the display failed; the run goes on", exc_info=True)


def cell_name(registry: Registry, cell: "Cell", *, with_backbone: bool = False) -> str:
    """`fixmatch synthfaces ratio-0.05 seed 0`, with the backbone where cells differ in it."""
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
    """Loss and mask rate of an epoch; what is made from hidden labels is known only after training."""
    parts = [f"loss {row.loss:.3f}"]
    if row.mask_rate is not None:
        parts.append(f"mask {100 * row.mask_rate:.0f} %")
    return "  ".join(parts)
