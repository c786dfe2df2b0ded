"""Progress of a render: bars on a terminal, otherwise a line for every tenth of a split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Report = Callable[[str, int], None]


@contextmanager
def report_progress(totals: Mapping[str, int]) -> Iterator[Report]:
    """Show the progress of splits with `totals` images; yields a function to call with a split and an increment."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(totals, console)
        return
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {split: bars.add_task(split, total=total) for split, total in totals.items()}
        yield lambda split, count: bars.advance(tasks[split], count)


def _lines(totals: Mapping[str, int], console: Console) -> Report:
    """Print a line whenever another tenth of a split is finished."""
    start = time.monotonic()
    done = dict.fromkeys(totals, 0)

    def report(split: str, count: int) -> None:
        before, done[split] = done[split], done[split] + count
        total = totals[split]
        if before * 10 // total != done[split] * 10 // total:
            console.print(f"{split}: {done[split]} of {total} images, {time.monotonic() - start:.0f} s")

    return report
