"""Which records a board accepts."""

from pathlib import Path

from ferbench.discovery.loader import builtin_protocols
from ferbench.leaderboard.submission import Submission, submission
from ferbench.records.agreement import verify_all
from ferbench.records.store import read_record
from tests.unit.records.factory import make_cell, write_failure, write_record

PROTOCOLS = builtin_protocols()


def submitted(runs: Path, *board: Path) -> Submission:
    return submission(verify_all([runs], PROTOCOLS), PROTOCOLS, map(read_record, board))


def test_a_record_without_a_result_replaces_no_result(tmp_path: Path) -> None:
    board = [write_record(tmp_path / "board", make_cell(seed=seed)) for seed in range(5)]
    diverged = write_failure(tmp_path / "runs", make_cell(seed=2))
    (reason,) = submitted(tmp_path / "runs", *board).refused.values()
    assert "the board has a result of this cell" in reason
    board[2] = write_failure(tmp_path / "board", make_cell(seed=2))
    assert list(submitted(tmp_path / "runs", *board).cells) == [diverged.parent]


def test_a_result_replaces_a_record_without_one(tmp_path: Path) -> None:
    board = [write_failure(tmp_path / "board", make_cell(seed=seed)) for seed in range(5)]
    better = write_record(tmp_path / "runs", make_cell(seed=2))
    assert list(submitted(tmp_path / "runs", *board).cells) == [better.parent]
