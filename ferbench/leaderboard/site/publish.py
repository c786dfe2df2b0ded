"""Write a site to disk: one folder for each edition, and a page that lists them."""

import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ferbench.errors import UsageError
from ferbench.leaderboard.build import make
from ferbench.leaderboard.changes import EditionFile, changes, read_edition
from ferbench.leaderboard.exports import render_json
from ferbench.leaderboard.site.pages import ROOM, make_pages
from ferbench.records.files import TEMPORARY_SUFFIX, unwritable, write_atomic
from ferbench.render.html import render

EDITION = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"
BOARD = "leaderboard.json"
"""A folder with this file is an edition."""


@dataclass(frozen=True)
class Listed:
    """An edition of a site."""

    name: str
    content: EditionFile


def edition_files(
    cells: pd.DataFrame, board_folder: Path, include_nonstandard: bool, edition: str, since: Path | None
) -> dict[str, bytes]:
    """All files of an edition by path, with a page of changes if `since` is an earlier leaderboard.json."""
    board = make(cells, board_folder, include_nonstandard)
    changed = None
    if since is not None:
        changed = list(changes(read_edition(since), EditionFile.model_validate_json(render_json(board))))
    return dict(make_pages(board, cells, edition, changed).files())


def publish(files: Mapping[str, bytes], out: Path, edition: str) -> Path:
    """Write an edition in one step, and the list of all editions; return the page to open.

    Raises UsageError if the name is not valid for a folder, or if that folder exists and is not an edition.
    """
    if not re.fullmatch(EDITION, edition):
        raise UsageError(f"--edition {edition}: use letters, digits, '.', '_' and '-', as in 0.2.0")
    target = out / edition
    if target.exists() and not (target / BOARD).is_file():
        raise UsageError(
            f"{target} is not an edition of a board (it has no {BOARD}); choose another folder with --edition or --out"
        )
    try:
        _replace(target, files)
    except OSError as error:
        raise unwritable(error, target) from error
    index = out / "index.html"
    write_atomic(index, render(ROOM, "editions.html.j2", editions=_editions(out)))
    return index


def _replace(target: Path, files: Mapping[str, bytes]) -> None:
    """Replace the folder by one with only these files; if that fails, the old folder stays."""
    fresh, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}") for _ in range(2))
    try:
        for path, content in files.items():
            place = fresh / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _editions(out: Path) -> list[Listed]:
    """The editions, newest first by the numbers in their names."""
    found = [path.parent for path in out.glob(f"*/{BOARD}") if re.fullmatch(EDITION, path.parent.name)]
    names = sorted((path.name for path in found), key=_by_number, reverse=True)
    return [Listed(name, read_edition(out / name / BOARD)) for name in names]


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """`0.10` is after `0.9`, and a version after its pre-releases."""
    parts = re.findall(r"\d+|[a-z]+", name.lower())
    return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]
