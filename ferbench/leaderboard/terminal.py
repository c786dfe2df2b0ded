"""Print a board on a terminal, with as many columns as fit."""

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ferbench.leaderboard.columns import Column, text_columns
from ferbench.leaderboard.summary import records_line
from ferbench.leaderboard.tables import Board, Row, Table
from ferbench.leaderboard.wording import all_notes, caption, headings
from ferbench.render.escape import LONG, plain

WIDEST = 1000
"""More than any table needs, in characters."""


def print_board(board: Board) -> None:
    """Print every table with its notes, then the cells without a result. A file or a pipe gets all columns."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=WIDEST)
    names = headings([table.key for table in board.tables])
    for table in board.tables:
        _print_table(console, table, names[table.key])
    if board.failures:
        console.print(Text("Cells without a result", "bold red"))
    for failure in board.failures:
        console.print(Text(plain(f"{failure.folder}: {failure.status}: {failure.reason}", LONG)))
    if board.not_reproduced:
        console.print(Text(f"Published values without a measured row: {len(board.not_reproduced)}", "dim"))
    console.print(Text(plain(records_line(board), LONG)))


def _print_table(console: Console, table: Table, heading: str) -> None:
    console.print(Text(plain(heading, LONG), "bold"))
    console.print(Text(plain(caption(table), LONG), "dim"))
    console.print(_fitting(console, table))
    for note in all_notes(table):
        console.print(Text(plain(note, LONG)))
    console.print()


def _fitting(console: Console, table: Table) -> Grid:
    """The table with as many columns as fit the width of the terminal."""
    shown = list(text_columns(table))
    ranked = sorted(
        (column for column in shown if column.dropped is not None), key=lambda column: column.dropped or 0, reverse=True
    )
    while ranked and Measurement.get(console, console.options, _grid(table, shown)).maximum >= console.width:
        shown.remove(ranked.pop())
    return _grid(table, shown)


def _grid(table: Table, shown: Sequence[Column]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in shown:
        grid.add_column(
            column.title,
            justify="left" if column.words else "right",
            style="cyan" if column.words else None,
            overflow="fold",
        )
    for row in table.rows:
        texts = (Text(plain(_text(column, row, table))) for column in shown)
        grid.add_row(*texts, style=None if row.complete else "dim")
    return grid


def _text(column: Column, row: Row, table: Table) -> str:
    if column.key == "seeds" and not row.complete:  # a note below the table gives the details
        return f"{len(row.by_seed)} of {row.most_seeds}"
    return column.text(row, table)
