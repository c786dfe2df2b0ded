"""`ferbench leaderboard`: tables from records, and whether the committed ones are up to date."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.output import print_warning
from ferbench.cli.session import Session
from ferbench.errors import UsageError, VerificationError

if TYPE_CHECKING:
    import pandas as pd

RECORDS = Path("leaderboard/records")
OUT = Path("leaderboard")


@click.group()
def leaderboard() -> None:
    """Build the tables of a leaderboard from records, check that they are up to date, or write them as LaTeX."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that decide what the files say, equal for building and checking."""
    for option in (
        click.option(
            "--include-nonstandard",
            is_flag=True,
            help="Add separate tables of runs with overrides; they never mix with standard ones.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            default=OUT,
            show_default=True,
            help="Folder of leaderboard.md, .csv and .json.",
        ),
        click.option(
            "--records",
            "--runs",
            type=click.Path(path_type=Path, file_okay=False),
            default=RECORDS,
            show_default=True,
            help="Folder of the records; a runs folder is one.",
        ),
    ):
        command = option(command)
    return command


@leaderboard.command()
@_options
@click.pass_obj
def build(session: Session, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Write leaderboard.md, leaderboard.csv and leaderboard.json, and show the tables.

    The files are a pure function of the records and of the published numbers (reported/*.toml in the output folder):
    building again gives the same bytes. A record that is broken is named and left out, and the exit code is 5.
    """
    from ferbench.leaderboard.build import build as write
    from ferbench.leaderboard.terminal import print_board

    cells = _cells(session, records)
    board, paths = write(cells, out, include_nonstandard)
    print_board(board)
    click.echo(f"wrote {', '.join(map(str, paths))}")
    _fail_on_problems(cells)


@leaderboard.command()
@_options
@click.pass_obj
def check(session: Session, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Exit with 5 if the files are not what the records and the published numbers give."""
    from ferbench.leaderboard.build import stale

    cells = _cells(session, records)
    if old := stale(cells, out, include_nonstandard):
        command = ["ferbench", "leaderboard", "build", "--records", str(records), "--out", str(out)]
        command += ["--include-nonstandard"] if include_nonstandard else []
        raise VerificationError(
            f"{', '.join(map(str, old))} {'is' if len(old) == 1 else 'are'} out of date; run `{shlex.join(command)}`"
        )
    _fail_on_problems(cells)
    click.echo(f"{out} is up to date with {records}")


@leaderboard.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_options
@click.pass_obj
def export(session: Session, file: Path, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Write the tables as FILE, whose name ends in .tex, .parquet, .csv, .json or .md.

    LaTeX has a table environment per table (package booktabs), with its notes as comments. Parquet has the columns of
    CSV with their types: `pandas.read_parquet(FILE)`. Published numbers are taken from the folder --out.
    """
    from ferbench.leaderboard.build import export as write

    cells = _cells(session, records)
    write(cells, out, include_nonstandard, file)
    click.echo(f"wrote {file}")
    _fail_on_problems(cells)


def _cells(session: Session, records: Path) -> "pd.DataFrame":
    from ferbench.records.frame import read_frame
    from ferbench.render.escape import plain

    if not records.is_dir():
        raise UsageError(f"there is no folder {records}; name the folder of the records with --records")
    cells = read_frame(records, session.protocols)
    for path, reason in cells.attrs["problems"].items():
        print_warning(plain(f"{path}: {reason}; left out", 1000))
    return cells


def _fail_on_problems(cells: "pd.DataFrame") -> None:
    if problems := cells.attrs["problems"]:
        one = len(problems) == 1
        raise VerificationError(
            f"{len(problems)} {'record is' if one else 'records are'} broken and left out: "
            f"{', '.join(problems)}; repair or remove {'it' if one else 'them'}"
        )
