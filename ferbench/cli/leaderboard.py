"""`ferbench leaderboard`: build tables from records, and check whether the committed ones are up to date."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.completion import datasets
from ferbench.cli.options import FOLDER
from ferbench.cli.output import warn_left_out
from ferbench.cli.session import Session
from ferbench.cli.submit import submit
from ferbench.cli.trust import re_evaluate, reproduce
from ferbench.cli.verified import verified
from ferbench.errors import VerificationError
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    import pandas as pd

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)

_folder = partial(click.option, type=FOLDER, show_default=True)


@click.group()
def leaderboard() -> None:
    """Build the tables of a leaderboard from records, and check whether they are up to date and can be trusted."""


_records = _folder(
    "--records",
    "--runs",
    default=Path("leaderboard/records"),
    help="Folder of the records; a runs folder is one.",
)
_nonstandard = click.option(
    "--include-nonstandard",
    is_flag=True,
    help="Add separate tables of runs with overrides; they never mix with standard ones.",
)
_out = _folder("--out", default=Path("leaderboard"), help="Folder of leaderboard.md, .csv and .json.")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide the content of the files. Building and checking use the same ones."""
    for option in (_nonstandard, _out, _records):
        command = option(command)
    return command


@leaderboard.command()
@_options
@click.pass_obj
def build(session: Session, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Write leaderboard.md, leaderboard.csv and leaderboard.json, and show the tables.

    The files depend only on the records and on the published numbers (reported/*.toml in the output folder): building
    again gives the same bytes. In rows from records of 0.1, variants have the titles that installed plugins give them.
    A broken record is named and left out; the exit code is then 5.
    """
    from ferbench.leaderboard.build import build as write
    from ferbench.leaderboard.terminal import print_board
    from ferbench.records.files import write_atomic

    with _cells(session, records, out) as (cells, kept):
        board, paths = write(cells, out, include_nonstandard)
        for name, content in kept.items():
            write_atomic(out / name, content)
            paths.append(out / name)
        print_board(board)
        click.echo(f"wrote {', '.join(map(str, paths))}")


@leaderboard.command()
@_options
@click.pass_obj
def check(session: Session, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Compare the files with what the records and the published numbers give; exit with 5 if they differ."""
    from ferbench.leaderboard.build import stale

    with _cells(session, records, out) as (cells, kept):
        if old := stale(cells, out, include_nonstandard, kept):
            command = ["ferbench", "leaderboard", "build", "--records", str(records), "--out", str(out)]
            command += ["--include-nonstandard"] if include_nonstandard else []
            files = f"{', '.join(map(str, old))} {'is' if len(old) == 1 else 'are'}"
            raise VerificationError(f"{files} out of date; run `{shlex.join(command)}`")
    click.echo(f"{out} is up to date with {records}")


@leaderboard.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_options
@click.pass_obj
def export(session: Session, file: Path, records: Path, out: Path, include_nonstandard: bool) -> None:
    """Write the tables to FILE, whose name ends in .tex, .parquet, .csv, .json or .md.

    A LaTeX file has one table environment per table (package booktabs), with its notes as comments. A Parquet file has
    the columns of the CSV file with their types: `pandas.read_parquet(FILE)`. Published numbers come from the folder
    --out.
    """
    from ferbench.leaderboard.build import export as write

    with _cells(session, records, out) as (cells, _):
        write(cells, out, include_nonstandard, file)
        click.echo(f"wrote {file}")


@leaderboard.command("pin")
@click.argument("dataset", shell_complete=datasets)
@click.option("--unlabeled", "pools", multiple=True, help="Pool for protocols that need one; may be repeated.")
@_folder("--out", default=Path("leaderboard"), help="Folder of the board.")
@click.pass_obj
def pin_dataset(session: Session, dataset: str, pools: tuple[str, ...], out: Path) -> None:
    """Pin the splits of DATASET: fingerprints and counts of every cell of every protocol that is not a draft.

    `ferbench verify` and the board can then check its records without the data. The file, pinned/DATASET.json in the
    output folder, belongs in the repository. It changes only if the dataset changes.
    """
    from ferbench.cells.pinning import pin
    from ferbench.records.files import write_atomic
    from ferbench.records.known import PINNED

    given = [word for pool in pools for word in ("--unlabeled", pool)]
    pins = pin(session.registry, dataset, pools, shlex.join(["ferbench", "leaderboard", "pin", dataset, *given]))
    path = out / PINNED / f"{pins.dataset}.json"
    write_atomic(path, pins.to_json())
    click.echo(f"wrote {path}: {counted(len(pins.splits), 'split')}")


@leaderboard.command()
@_records
@_nonstandard
@_folder("--board", default=Path("leaderboard"), help="Folder of the board, with reported/*.toml and trust.json.")
@_folder("--out", required=True, help="Folder of the site; each edition gets its own folder.")
@click.option("--edition", help="Name of the edition  [default: that of trust.json]")
@click.option("--since", type=FILE, help="The leaderboard.json of an earlier edition: show what changed.")
@click.pass_obj
def site(
    session: Session,
    records: Path,
    include_nonstandard: bool,
    board: Path,
    out: Path,
    edition: str | None,
    since: Path | None,
) -> None:
    """Write the board as static pages that need no server: open OUT/index.html.

    If an edition is written again, it is replaced as a whole; other editions in OUT stay as they are. The pages depend
    only on records, published numbers and options, and load nothing from other hosts.
    """
    from ferbench.leaderboard.site.publish import edition_files, publish
    from ferbench.leaderboard.trust import TRUST, read_trust

    name = edition or read_trust(board / TRUST).edition
    with _cells(session, records, board) as (cells, _):
        files = edition_files(cells, board, include_nonstandard, name, since)
        index = publish(files, out, name)
        click.echo(f"wrote {len(files)} files; open {index}")


@leaderboard.command()
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
@click.option("--markdown", "as_text", is_flag=True, help="Print a table in Markdown, for a comment or a summary.")
def diff(before: Path, after: Path, as_text: bool) -> None:
    """Show what changed from the leaderboard.json BEFORE to AFTER, row by row."""
    from ferbench.leaderboard.changes import HEADS, as_markdown, changes, lines_of, read_edition

    found = list(changes(read_edition(before), read_edition(after)))
    if as_text:
        click.echo(as_markdown(found))
        return
    if found:
        print_table(HEADS, ([plain(text) for text in line] for line in lines_of(found)))
    click.echo(f"{counted(len(found), 'row')} changed")


leaderboard.add_command(submit)
leaderboard.add_command(re_evaluate)
leaderboard.add_command(reproduce)


@contextmanager
def _cells(session: Session, records: Path, out: Path) -> "Iterator[tuple[pd.DataFrame, dict[str, bytes]]]":
    """The valid records, and the file with the list of supervised rows, by name.

    Broken records are named at once; after all else is done, they raise an error.
    """
    from ferbench.cells.known import known_protocols
    from ferbench.leaderboard.baselines import baselines_file
    from ferbench.records.frame import verified_frame, with_protocols

    found, board = verified(session, records, out)
    cells = with_protocols(verified_frame(found, session.registry.titles), found, known_protocols(session.registry))
    problems = cells.attrs["problems"]
    warn_left_out(problems)
    yield cells, baselines_file(board, found)
    if problems:
        one = len(problems) == 1
        raise VerificationError(
            f"{len(problems)} {'record is' if one else 'records are'} broken and left out: "
            f"{', '.join(problems)}; repair or remove {'it' if one else 'them'}"
        )
