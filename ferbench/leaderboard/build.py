"""A frame of cells to the files of a leaderboard, and whether committed files still say the same."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from ferbench.errors import UsageError
from ferbench.leaderboard.exports import render_csv, render_json, render_parquet
from ferbench.leaderboard.latex import render_latex
from ferbench.leaderboard.markdown import render_markdown
from ferbench.leaderboard.reported import FOLDER, read_reported
from ferbench.leaderboard.tables import Board, make_board
from ferbench.records.files import write_atomic

FORMATS: Mapping[str, Callable[[Board], bytes]] = {
    ".csv": lambda board: render_csv(board).encode("utf-8"),
    ".json": render_json,
    ".md": lambda board: render_markdown(board).encode("utf-8"),
    ".tex": lambda board: render_latex(board).encode("utf-8"),
    ".parquet": render_parquet,
}
"""What a board can be written as, by the end of the file's name."""
BUILT = (".csv", ".json", ".md")
"""What is committed: the bytes of the others depend on the versions of libraries."""


def render(board: Board) -> dict[str, bytes]:
    """Names and contents of the files that are committed."""
    return {f"leaderboard{suffix}": FORMATS[suffix](board) for suffix in BUILT}


def export(cells: pd.DataFrame, folder: Path, include_nonstandard: bool, file: Path) -> None:
    """Write what the folder's leaderboard says as one file, in the format that its name ends in."""
    if file.suffix not in FORMATS:
        raise UsageError(f"{file}: the name must end in one of {', '.join(FORMATS)}")
    board = make_board(cells, include_nonstandard, read_reported(folder / FOLDER))
    write_atomic(file, FORMATS[file.suffix](board))


def build(cells: pd.DataFrame, folder: Path, include_nonstandard: bool) -> tuple[Board, list[Path]]:
    """Write the files, with what papers print beside them; returns the board and their paths."""
    board = make_board(cells, include_nonstandard, read_reported(folder / FOLDER))
    files = render(board)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return board, [folder / name for name in files]


def stale(cells: pd.DataFrame, folder: Path, include_nonstandard: bool) -> list[Path]:
    """The files that are missing or do not say what the records and the papers say."""
    files = render(make_board(cells, include_nonstandard, read_reported(folder / FOLDER)))
    return [folder / name for name, content in files.items() if _content(folder / name) != content]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
