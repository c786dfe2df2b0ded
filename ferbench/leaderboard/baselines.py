"""The supervised rows of a board: their seeds and records stay, since gains are over them."""

from collections.abc import Sequence
from pathlib import Path

from ferbench.records.agreement import Board, baseline_digests
from ferbench.records.known import BASELINES, read_baselines
from ferbench.records.schema import pretty_json
from ferbench.records.verification import Verification

RECORDS = "records"


def board_of(paths: Sequence[Path], folder: Path) -> Board:
    """What records are held against: the board's list, where they are all records of it and no folder of runs."""
    if [path.resolve() for path in paths] != [(folder / RECORDS).resolve()]:
        return Board()
    return Board(read_baselines(folder), published=True)


def baselines_file(board: Board, found: Sequence[Verification]) -> dict[str, bytes]:
    """Name and bytes of the list with the supervised rows that have come; nothing for a folder of runs.

    No line goes by itself.
    """
    if not board.published:
        return {}
    return {BASELINES: pretty_json({**baseline_digests(found), **board.baselines})}
