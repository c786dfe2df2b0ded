"""Tables as text: styled on a terminal, plain elsewhere."""

import shutil
import sys
from collections.abc import Iterable, Sequence

import click

OUTCOMES = {"ok": "green", "warning": "yellow", "FAILED": "bold red"}
"""Words that stand out in a table on a terminal."""
MAX_WHOLE = 24
"""Letters of a cell that is never folded."""
GAP = 3
"""Letters between two columns."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; off a terminal every cell is whole and on one line, so that it can be piped to grep or a file."""
    rows = [tuple(row) for row in rows]
    if sys.stdout.isatty():
        _print_styled(columns, rows)
        return
    from tabulate import tabulate  # help shows no table, and must not wait for it

    click.echo(tabulate(rows, [*map(str.upper, columns)], tablefmt="plain", disable_numparse=True))


def print_list(columns: Sequence[str], rows: Iterable[Sequence[str]], described: int) -> None:
    """A table of things and what they are; on a terminal that is too narrow for its rows, some lines for each.

    The columns from number `described` on then share one, where they stand below each other.
    """
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if sys.stdout.isatty() and sum(widths) + GAP * len(widths) > shutil.get_terminal_size().columns:
        columns = (*columns[:described], ", ".join(columns[described:]))
        rows = [(*row[:described], "\n".join(filter(None, row[described:]))) for row in rows]
    print_table(columns, rows)


def _print_styled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # rich takes longer to import than `ferbench --help` may last.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        # Where room is short, long texts are folded, and numbers stay whole.
        short = max((len(row[position]) for row in rows), default=0) <= MAX_WHOLE
        table.add_column(column, style="cyan" if position == 0 else None, no_wrap=short, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=OUTCOMES.get(cell, "")) for cell in row))
    Console().print(table)
