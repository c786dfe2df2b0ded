"""Print tables as text: styled on a terminal, plain elsewhere."""

import shutil
import sys
from collections.abc import Iterable, Sequence

import click

OUTCOMES = {"ok": "green", "warning": "yellow", "FAILED": "bold red"}
"""Highlighted words of a table, with their style."""
MAX_WHOLE = 24
"""Columns whose cells have at most this many characters are never folded."""
GAP = 3
"""Characters between two columns."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. In a pipe or a file every row is one line with complete cells, for grep and other programs."""
    rows = [tuple(row) for row in rows]
    if sys.stdout.isatty():
        _print_styled(columns, rows)
        return
    from tabulate import tabulate  # imported here because help prints no table and should be fast

    click.echo(tabulate(rows, [*map(str.upper, columns)], tablefmt="plain", disable_numparse=True))


def print_list(columns: Sequence[str], rows: Iterable[Sequence[str]], described: int) -> None:
    """Print a table of names and descriptions; on a narrow terminal every row takes several lines.

    Then the columns from index `described` on are joined into one column, below each other.
    """
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if sys.stdout.isatty() and sum(widths) + GAP * len(widths) > shutil.get_terminal_size().columns:
        columns = (*columns[:described], ", ".join(columns[described:]))
        rows = [(*row[:described], "\n".join(filter(None, row[described:]))) for row in rows]
    print_table(columns, rows)


def _print_styled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Imported here because rich would make `ferbench --help` too slow.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        # On narrow terminals long texts are folded, but numbers are not.
        short = max((len(row[position]) for row in rows), default=0) <= MAX_WHOLE
        table.add_column(column, style="cyan" if position == 0 else None, no_wrap=short, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=OUTCOMES.get(cell, "")) for cell in row))
    Console().print(table)
