"""A board on a terminal: all columns where they fit, the main ones where they do not."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ferbench.leaderboard.escape import plain
from ferbench.leaderboard.tables import Board, Table
from ferbench.leaderboard.wording import COLUMNS, caption, cells, heading

MAIN_COLUMNS = ("Method", "Seeds", "Accuracy", "Macro-F1", "Gain")
WIDE = 150
LONG = 5000


def print_board(board: Board) -> None:
    """Every table with its notes, then the cells that have no result. Into a file or a pipe all columns are written."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
    for table in board.tables:
        _print_table(console, table)
    if board.failures:
        console.print(Text("Cells without a result", "bold red"))
    for failure in board.failures:
        console.print(Text(plain(f"{failure.folder}: {failure.status}: {failure.reason}", LONG)))


def _print_table(console: Console, table: Table) -> None:
    shown = COLUMNS if console.width >= WIDE else MAIN_COLUMNS
    console.print(Text(plain(heading(table.key)), "bold"))
    console.print(Text(plain(caption(table.key, sum(table.class_counts)), LONG), "dim"))
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in shown:
        left = name == "Method"
        grid.add_column(name, justify="left" if left else "right", style="cyan" if left else None, overflow="fold")
    for row in table.rows:
        texts = dict(zip(COLUMNS, cells(row, table.baseline), strict=True))
        grid.add_row(*(Text(plain(texts[name])) for name in shown), style=None if row.complete else "dim")
    console.print(grid)
    for note in table.notes:
        console.print(Text(plain(note, LONG)))
    console.print()
