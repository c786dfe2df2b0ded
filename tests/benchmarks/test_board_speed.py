"""A plugin's own table from a folder of 500 records: verify, build and site in at most 30 s of processor time."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import succeed
from tests.unit.records.factory import make_cell, make_predictions, write_record

MOST_SECONDS = 30.0


def a_hundred_methods(root: Path) -> None:
    """Of five seeds each, on 1,400 test images, one a little better than the other."""
    for number in range(100):
        for seed in range(5):
            cell = make_cell(f"method-{number:03}" if number else "supervised", seed)
            predictions = make_predictions(1 + number / 60, int(cell.cell_id[:8], 16), n_test=1400)
            write_record(root, cell, predictions=predictions)


@pytest.mark.slow
def test_a_board_of_five_hundred_records(benchmark: Any, tmp_path: Path) -> None:
    board = str(tmp_path / "board")
    records = str(tmp_path / "board" / "records")
    a_hundred_methods(Path(records))

    def whole() -> None:
        assert "500 of 500 records" in succeed("verify", records, "--board", board)
        succeed("leaderboard", "build", "--records", records, "--out", board)
        succeed("leaderboard", "site", "--records", records, "--board", board, "--out", str(tmp_path / "site"))

    began = time.process_time()
    benchmark.pedantic(whole, rounds=1)
    assert time.process_time() - began < MOST_SECONDS
