"""Turn a frame of cells into the files of a leaderboard, and check whether committed files are up to date."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ferbench.errors import UsageError
from ferbench.leaderboard.documents import render_latex, render_markdown
from ferbench.leaderboard.exports import render_csv, render_json, render_parquet
from ferbench.leaderboard.reported import read_reported
from ferbench.leaderboard.tables import Board, make_board
from ferbench.leaderboard.trust import TRUST, read_trust, with_trust
from ferbench.records.files import write_atomic, write_out

FORMATS: Mapping[str, Callable[[Board], bytes]] = {
    ".csv": lambda board: render_csv(board).encode("utf-8"),
    ".json": render_json,
    ".md": lambda board: render_markdown(board).encode("utf-8"),
    ".tex": lambda board: render_latex(board).encode("utf-8"),
    ".parquet": render_parquet,
}
"""The formats of a board, by the suffix of the file's name."""
BUILT = (".csv", ".json", ".md")
"""The formats that are committed. The bytes of the others depend on the versions of libraries."""


def render(board: Board) -> dict[str, bytes]:
    """Names and contents of the committed files."""
    return {f"leaderboard{suffix}": FORMATS[suffix](board) for suffix in BUILT}


def export(cells: pd.DataFrame, folder: Path, include_nonstandard: bool, file: Path) -> None:
    """Write the folder's leaderboard to one file; its suffix selects the format. Raises UsageError for others."""
    if file.suffix not in FORMATS:
        raise UsageError(f"{file}: the name must end in one of {', '.join(FORMATS)}")
    write_out(file, FORMATS[file.suffix](make(cells, folder, include_nonstandard)))


def build(cells: pd.DataFrame, folder: Path, include_nonstandard: bool) -> tuple[Board, list[Path]]:
    """Write the committed files; return the board and their paths."""
    board = make(cells, folder, include_nonstandard)
    files = {folder / name: content for name, content in render(board).items()}
    for path, content in files.items():
        write_atomic(path, content)
    return board, list(files)


def stale(
    cells: pd.DataFrame, folder: Path, include_nonstandard: bool, others: Mapping[str, bytes] = MappingProxyType({})
) -> list[Path]:
    """Paths of files that are missing or outdated; `others` are more expected files, contents by name."""
    files = {**render(make(cells, folder, include_nonstandard)), **others}
    return [path for name, content in files.items() if not _holds(path := folder / name, content)]


def make(cells: pd.DataFrame, folder: Path, include_nonstandard: bool) -> Board:
    """Make the board of the cells, with their levels of trust and the values that papers print."""
    cells = with_trust(cells, read_trust(folder / TRUST))
    return make_board(cells, include_nonstandard, read_reported(folder / "reported"))


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
