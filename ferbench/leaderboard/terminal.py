"""A board on a terminal: all columns where they fit, the main ones where they do not."""

import sys

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ferbench.leaderboard.tables import Board, Table
from ferbench.leaderboard.wording import caption, cells, columns, footnotes, heading
from ferbench.render.escape import LONG, plain

# What a narrow terminal goes without, the first first.
OPTIONAL = ("Labels", "Image passes", "Minutes", "ECE", "Balanced acc.", "Optimism", "Macro-F1")


def print_board(board: Board) -> None:
    """Every table with its notes, then the cells that have no result. Into a file or a pipe all columns are written."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
    for table in board.tables:
        _print_table(console, table)
    if board.failures:
        console.print(Text("Cells without a result", "bold red"))
    for failure in board.failures:
        console.print(Text(plain(f"{failure.folder}: {failure.status}: {failure.reason}", LONG)))
    if board.not_reproduced:
        console.print(Text(f"Published values without a measured row: {len(board.not_reproduced)}", "dim"))


def _print_table(console: Console, table: Table) -> None:
    console.print(Text(plain(heading(table.key)), "bold"))
    console.print(Text(plain(caption(table.key, sum(table.class_counts)), LONG), "dim"))
    console.print(_fitting(console, table))
    for note in (*table.notes, *footnotes(table)):
        console.print(Text(plain(note, LONG)))
    console.print()


def _fitting(console: Console, table: Table) -> Grid:
    """The table with as many columns as the terminal is wide enough for."""
    shown = list(columns(table))
    for name in OPTIONAL:
        grid = _grid(table, shown)
        if Measurement.get(console, console.options, grid).maximum < console.width:
            return grid
        shown.remove(name)
    return _grid(table, shown)


def _grid(table: Table, shown: list[str]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in shown:
        left = name == "Method"
        grid.add_column(name, justify="left" if left else "right", style="cyan" if left else None, overflow="fold")
    for row in table.rows:
        texts = dict(zip(columns(table), cells(row, table), strict=True))
        if not row.complete:  # a note below the table says so in full
            texts["Seeds"] = f"{len(row.by_seed)} of {row.most_seeds}"
        grid.add_row(*(Text(plain(texts[name])) for name in shown), style=None if row.complete else "dim")
    return grid
