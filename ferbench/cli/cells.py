"""`ferbench logs` and `ferbench cancel`: work with cells of a runs folder by name, on any machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli import completion
from ferbench.cli.options import looked_in, runs_folder
from ferbench.errors import DataError, UsageError, listed
from ferbench.render.escape import plain
from ferbench.render.numbers import counted

if TYPE_CHECKING:
    from ferbench.records.cell import Cell
    from ferbench.records.cell_log import LogLine
    from ferbench.records.progress import RunsProgress, State

FOLLOW_SECONDS = 0.5
LONG = 4000


@click.command()
@click.argument("cell", shell_complete=completion.cells)
@runs_folder()
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the cell has ended.")
def logs(cell: str, runs: Path, follow: bool) -> None:
    """Show the events of a cell and, if it failed, the output of its process.

    CELL is its folder, or a part that no other cell's folder has, such as `fixmatch/small-resnet_16/seed3`.
    """
    from ferbench.contract.events import Finished
    from ferbench.execution.crash_record import LOG
    from ferbench.records.cell_log import CELL_LOG, read_log
    from ferbench.records.progress import progress_of
    from ferbench.records.store import RunStore

    progress = progress_of(RunStore(runs))
    found = chosen(progress, runs, [cell])
    if len(found) > 1:
        raise UsageError(
            f"{cell}: the folders of several cells contain this; name one of{listed([_name(one) for one in found])}"
        )
    folder = progress.folders[found[0]]
    if not (folder / CELL_LOG).exists() and not follow:
        raise UsageError(f"{folder}: has no log; the cell has not started, or an older version of ferbench ran it")
    while not (folder / CELL_LOG).exists():
        time.sleep(FOLLOW_SECONDS)
    with (folder / CELL_LOG).open("rb") as file:
        ended = False
        while True:
            for line in read_log(file):
                click.echo(plain(_text(line), LONG))
                ended = isinstance(line.event, Finished)
            if not follow or ended:
                break
            time.sleep(FOLLOW_SECONDS)
    printed = folder / LOG
    if printed.is_file():
        click.echo(f"--- {printed}")
        for text in printed.read_text("utf-8", "replace").splitlines():
            click.echo(plain(text, LONG))


@click.command()
@click.argument("cells", nargs=-1, shell_complete=completion.cells)
@runs_folder()
def cancel(cells: tuple[str, ...], runs: Path) -> None:
    """Ask running and waiting cells to save and stop, on this machine and on machines that share the folder.

    CELLS are folders or parts of them; without CELLS, all cells. A running cell stops within a step and resumes from
    its checkpoint in the next `ferbench run`. A waiting cell does not start.
    """
    from ferbench.records.cell import Cell
    from ferbench.records.progress import progress_of
    from ferbench.records.store import RunStore, ask_to_stop

    found = progress_of(RunStore(runs))
    # A cell that failed or was interrupted may wait for its next attempt.
    named = chosen(found, runs, cells, ("running", "waiting", "interrupted", "failed"))
    asked, refused = list[Cell](), list[str]()
    for cell in named:
        try:
            ask_to_stop(found.folders[cell])
            asked.append(cell)
        except DataError as error:  # of another user, perhaps; the others are asked all the same
            refused.append(str(error))
    running = sum(found.states[cell] == "running" for cell in asked)
    click.echo(f"asked {counted(running, 'running cell')} to save and stop; {len(asked) - running} will not start")
    if refused:
        raise DataError(f"{counted(len(refused), 'cell')} could not be asked:{listed(refused)}")


def chosen(
    found: "RunsProgress", runs: Path, texts: "list[str] | tuple[str, ...]", states: "tuple[State, ...]" = ()
) -> "list[Cell]":
    """The cells whose folders contain one of the texts (all cells without texts), in one of the states, if given.

    `seed1` is the cell of seed 1 and not those of seeds 10 to 19, unless only these are there. Raises UsageError for an
    empty text, and for one that no such cell has.
    """
    cells = [cell for cell, state in found.states.items() if not states or state in states]
    if not texts:
        return cells
    result: dict[Cell, None] = {}
    for text in texts:
        part = text.removeprefix(f"{runs}/").rstrip("/")
        if not part:
            raise UsageError(f"'{text}' names no cell; write a part of its folder, or no name at all for all cells")
        matching = [cell for cell in cells if part in _name(cell)]
        whole = [cell for cell in matching if f"/{part}/" in f"/{_name(cell)}/"]
        if not matching:
            what = f" that is {' or '.join(states)}" if states else ""
            raise UsageError(
                f"{text}: no cell{what} in {looked_in(runs)} has this in its folder; `ferbench status` shows them"
            )
        result.update(dict.fromkeys(whole or matching))
    return list(result)


def _name(cell: "Cell") -> str:
    return str(cell.folder())


def _text(line: "LogLine") -> str:
    from ferbench.cli.progress import epoch_line, outcome
    from ferbench.contract.events import Epoch, Finished, Notice, Step

    event = line.event
    if isinstance(event, Epoch):
        text = f"epoch {event.row.epoch}, step {event.row.step}  {epoch_line(event.row)}"
    elif isinstance(event, Step):
        text = f"step {event.step} of {event.steps}"
    elif isinstance(event, Notice):
        text = event.text
    else:
        text = outcome(event) if isinstance(event, Finished) else "started"
    return f"{line.time}  {text}"
