"""Verifying a board of a thousand records: at most 20 s of processor time."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ferbench.records.cell import Cell
from tests.support.command import call

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
MOST_SECONDS = 20.0


def thousand(root: Path) -> int:
    """The committed records under fifteen names of their method, each in the folder of its cell."""
    count = 0
    for path in sorted(RECORDS.rglob("record.json")):
        for number in range(15):
            fields = json.loads(path.read_text())
            fields["cell"]["method"] += f"-{number}"
            cell = Cell.model_validate(fields["cell"])
            fields["cell_id"] = cell.cell_id
            folder = root / cell.folder()
            shutil.copytree(path.parent, folder)
            (folder / "record.json").write_text(json.dumps(fields))
            count += 1
    return count


@pytest.mark.slow
def test_a_thousand_records(benchmark: Any, tmp_path: Path) -> None:
    assert thousand(tmp_path / "runs") == 1050
    began = time.process_time()
    done = benchmark.pedantic(call, ("verify", str(tmp_path / "runs"), "--json"), rounds=1)
    seconds = time.process_time() - began
    found = json.loads(done.out)
    assert len(found) == 1050
    # they are copies of each other, and say nothing else that is wrong
    assert {check["name"] for each in found for check in each["checks"] if check["state"] == "failed"} == {"copy"}
    assert seconds < MOST_SECONDS
