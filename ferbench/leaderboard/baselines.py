"""The list of a board's supervised records. They must not change, because gains are relative to them."""

from collections.abc import Sequence
from pathlib import Path

from ferbench.records.agreement import Board, baseline_digests
from ferbench.records.known import BASELINES, read_baselines
from ferbench.records.schema import pretty_json
from ferbench.records.verification import Verification

RECORDS = "records"


def board_of(paths: Sequence[Path], folder: Path) -> Board:
    """The board's list of baselines if `paths` are the records of the board in `folder`; an empty one for runs."""
    if [path.resolve() for path in paths] != [(folder / RECORDS).resolve()]:
        return Board()
    return Board(read_baselines(folder), published=True)


def baselines_file(board: Board, found: Sequence[Verification]) -> dict[str, bytes]:
    """Name and bytes of the list, extended by new supervised records; empty for a folder of runs.

    Lines are added, never changed or removed.
    """
    if not board.published:
        return {}
    return {BASELINES: pretty_json({**baseline_digests(found), **board.baselines})}
