"""A folder of records to the files of a leaderboard, and whether committed files still say the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferbench.leaderboard.exports import render_csv, render_json
from ferbench.leaderboard.markdown import render_markdown
from ferbench.leaderboard.reported import FOLDER, read_reported
from ferbench.leaderboard.tables import Board, make_board
from ferbench.records.checks import Protocols, check_record
from ferbench.records.files import write_atomic
from ferbench.records.schema import Record
from ferbench.records.store import BrokenRecord, RunStore


@dataclass(frozen=True)
class Collected:
    """The records of a folder that may enter a table, and those that may not, with the reason."""

    records: tuple[Record, ...]
    problems: Mapping[Path, str]


def collect(root: Path, protocols: Protocols) -> Collected:
    """Read every record below the folder. A record that contradicts itself or another is left out."""
    records: dict[Path, Record] = {}
    problems: dict[Path, str] = {}
    first: dict[str, Path] = {}
    for path, found in RunStore(root).iterate():
        if isinstance(found, BrokenRecord):
            problems[path] = found.reason
        elif failed := [check for check in check_record(found, protocols) if check.state == "failed"]:
            problems[path] = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        else:
            records[path] = found
            other = first.setdefault(found.cell_id, path)
            if other != path:  # nothing says which of the two counts
                problems |= {path: f"the same cell as {other}", other: f"the same cell as {path}"}
    return Collected(tuple(record for path, record in records.items() if path not in problems), problems)


def render(board: Board) -> dict[str, bytes]:
    """File names and contents."""
    return {
        "leaderboard.csv": render_csv(board).encode("utf-8"),
        "leaderboard.json": render_json(board),
        "leaderboard.md": render_markdown(board).encode("utf-8"),
    }


def build(records: tuple[Record, ...], folder: Path, include_nonstandard: bool) -> tuple[Board, list[Path]]:
    """Write the files, with what papers print beside them; returns the board and their paths."""
    board = make_board(records, include_nonstandard, read_reported(folder / FOLDER))
    files = render(board)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return board, [folder / name for name in files]


def stale(records: tuple[Record, ...], folder: Path, include_nonstandard: bool) -> list[Path]:
    """The files that are missing or do not say what the records and the papers say."""
    files = render(make_board(records, include_nonstandard, read_reported(folder / FOLDER)))
    return [folder / name for name, content in files.items() if _content(folder / name) != content]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
