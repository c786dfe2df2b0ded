"""How commands show tables, JSON and warnings: styled on a terminal, plain text elsewhere."""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from ferbench.plugins import registry
from ferbench.registry import Problem

OUTCOMES = {"ok": "green", "warning": "yellow", "FAILED": "bold red"}
"""Words that stand out in a table on a terminal."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; off a terminal every cell is whole and on one line, so that it can be piped to grep or a file."""
    rows = [tuple(row) for row in rows]
    if sys.stdout.isatty():
        _print_styled(columns, rows)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in ([*map(str.upper, columns)], *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_styled(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # rich takes longer to import than `ferbench --help` may last.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, style="cyan" if position == 0 else None, no_wrap=position == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=OUTCOMES.get(cell, "")) for cell in row))
    Console().print(table)


def shown_row(row: str) -> str:
    """A row as people read it: the method's title stands for its name, where it has one."""
    method = re.split("[@+~]", row, maxsplit=1)[0]  # variant, head, digest of what is not standard
    entry = registry().entries["methods"].get(method)
    return f"{entry.title}{row.removeprefix(method)}" if entry and entry.title else row


def print_json(value: Any) -> None:
    """`value` as JSON for other programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def warn_problems(problems: Iterable[Problem]) -> None:
    """One line on stderr for each problem of a plugin."""
    for problem in problems:
        print_warning(str(problem))


def print_warning(text: str) -> None:
    """One line on stderr."""
    prefix = click.style("warning:", fg="yellow", bold=True)
    click.echo(f"{prefix} {text}", err=True, color=use_color())


def use_color() -> bool | None:
    """What click is told: never with NO_COLOR, else as the stream allows."""
    return False if os.environ.get("NO_COLOR") else None
