"""What a person sees while cells run: a bar per cell on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.output import shown_row
from ferbench.contract.events import Epoch, EpochRow, Event, Finished, Notice, Started, Step
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry

if TYPE_CHECKING:
    from ferbench.records.cell import Cell

_log = logging.getLogger(__name__)


class RunDisplay:
    """Receives the events of an executor; a context manager that owns the terminal while cells run.

    What goes wrong in showing them is logged and stops nothing: a closed pipe or terminal must not cost a result.
    """

    def __init__(self, jobs: Sequence[Job], registry: Registry) -> None:
        self._total, self._registry = len(jobs), registry
        self._finished = 0
        self._bars = _Bars(len(jobs)) if sys.stdout.isatty() and jobs else None
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
        self._finished += isinstance(event, Finished)
        from ferbench.records.cell import Cell

        with _harmless():
            self._show(Cell.model_validate(dict(job.cell)), event)

    def _show(self, cell: "Cell", event: Event) -> None:
        name = cell_name(self._registry, cell, with_backbone=self._with_backbone)
        if isinstance(event, Finished):
            self._print(f"[{self._finished}/{self._total}] {name}: {outcome(event)}")
        elif isinstance(event, Notice) and event.text not in self._noticed:
            self._noticed.add(event.text)
            self._print(f"{name}: {event.text}")
        elif isinstance(event, Started) and self._bars is None:
            self._print(f"{name}: started")
        elif isinstance(event, Epoch) and self._bars is None and event.row.epoch % 5 == 0:
            self._print(f"{name}: step {event.row.step}  {epoch_line(event.row)}")
        if self._bars:
            self._bars.update(cell.cell_id, name, event)

    def _print(self, line: str) -> None:
        if self._bars:
            self._bars.print(line)
        else:
            click.echo(f"{time.strftime('%H:%M:%S')} {line}")
            sys.stdout.flush()


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


class _Bars:
    """Rich's live progress: one line per running cell and one for the whole."""

    def __init__(self, total: int) -> None:
        # rich takes longer to import than help may last.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            (0, TextColumn("{task.description}")),
            (100, BarColumn(bar_width=20)),
            (0, MofNCompleteColumn()),
            (116, TextColumn("{task.fields[rate]}")),
            (0, TimeRemainingColumn(compact=True)),
            (140, TextColumn("[dim]{task.fields[line]}")),
        )
        width = Console().width
        self._progress = Progress(*(column for least, column in columns if width >= least))
        self._all = self._progress.add_task("all cells", total=total, rate="", line="")
        self._tasks: dict[str, Any] = {}

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def print(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False)

    def update(self, key: str, name: str, event: Event) -> None:
        if isinstance(event, Started):
            self._task(key, name)
        elif isinstance(event, Step):
            task = self._task(key, name)
            speed = self._progress.tasks[self._progress.task_ids.index(task)].speed
            rate = f"{speed:.1f} steps/s" if speed else ""
            self._progress.update(task, completed=event.step, total=event.steps, rate=rate)
        elif isinstance(event, Epoch):
            self._progress.update(self._task(key, name), completed=event.row.step, line=epoch_line(event.row))
        elif isinstance(event, Finished):
            if key in self._tasks:
                self._progress.remove_task(self._tasks.pop(key))
            self._progress.advance(self._all)

    def _task(self, key: str, name: str) -> Any:
        """The bar of a cell, begun when the first is heard of it."""
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(name, total=None, rate="", line="")
        return self._tasks[key]
