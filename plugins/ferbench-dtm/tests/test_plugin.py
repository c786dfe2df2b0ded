"""The plugin from outside: what is planned and shown, ferbench's own checks, and a run of the real command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.command import succeed as ferbench

from ferbench.cells.request import RunRequest
from ferbench.discovery.loader import load_registry
from ferbench.execution.plan import make_plan
from ferbench.records.cell import Cell

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records"
SHORT = ("--set", "steps=20", "--device", "cpu", "--backbone", "small-resnet/4")
CODE = "DTM (code of that name, authorship not stated)"
RECONSTRUCTION = "DTM-like (reconstruction of 0.1)"


def planned(row: str, pool: str, seed: int = 0) -> Cell:
    request = RunRequest(
        methods=[row], ratios=["0.05"], protocol="external-v1", unlabeled=pool, seeds=[seed], device="cpu"
    )
    (found,) = make_plan(request, load_registry(), check_data=False)
    return found.cell


def test_the_rule_of_the_code_is_what_is_planned() -> None:
    cell = planned("dtm", "synthfaces-fr")
    assert (cell.variant, cell.row) == ("from-code", "dtm@from-code")
    assert cell == planned("dtm@from-code", "synthfaces-fr")


def test_the_reconstruction_keeps_the_cells_folders_and_rows_of_its_records() -> None:
    paths = sorted(RECORDS.glob("external-v1/*/*/dtm/*/*/record.json"))
    assert len(paths) == 10
    for path in paths:
        record = json.loads(path.read_text("utf-8"))
        cell = planned("dtm@described", record["cell"]["pool"], record["cell"]["seed"])
        assert cell.cell_id == record["cell_id"]
        assert cell.row == "dtm"
        assert str(cell.folder()) == str(path.parent.relative_to(RECORDS))


def test_only_the_reconstruction_was_tuned() -> None:
    tuned = [each for each in load_registry().tunings if each.name == "dtm"]
    assert {each.variant for each in tuned} == {"described"}


def test_titles_say_what_is_whose_and_what_is_planned_has_one() -> None:
    titles = load_registry().get("methods", "dtm").titles
    assert titles["described"] == RECONSTRUCTION
    assert titles["from-code"] == CODE
    assert "code of that name, authorship not stated" in titles["released"]


@pytest.mark.slow
def test_conformance() -> None:
    ferbench("plugins", "check", "dtm")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_dtm.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize(("row", "title"), [("dtm", CODE), ("dtm@described", RECONSTRUCTION)])
def test_it_learns_from_a_pool_and_says_whose_it_is_everywhere(row: str, title: str, tmp_path: Path) -> None:
    runs, tables = str(tmp_path / "runs"), tmp_path / "tables"
    pool = ("--unlabeled", "synthfaces-fr")
    shown = [ferbench("run", "--method", row, "--ratio", "0.05", *pool, "--runs", runs, *SHORT)]
    record = next((tmp_path / "runs").rglob("record.json"))
    assert json.loads(record.read_text())["plugin"]["variant_title"] == title
    history = json.loads(record.with_name("history.json").read_text())
    assert all(len(row["method"]["threshold"]) == 7 for row in history)
    ferbench("leaderboard", "build", "--runs", runs, "--out", str(tables), "--include-nonstandard")
    ferbench("report", str(record))
    for page in (tables / "leaderboard.md", record.with_name("report.html")):
        assert title in page.read_text()
    shown.append(ferbench("status", "--runs", runs))
    assert all(title in text for text in shown)


def test_tables_of_records_of_0_1_have_the_title_of_today() -> None:
    committed = (RECORDS.parent / "leaderboard.md").read_text("utf-8")
    assert RECONSTRUCTION in committed
    assert "DTM-like (reconstruction) " not in committed
