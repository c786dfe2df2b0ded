"""The plugin from outside: ferbench's own checks, and a run of the real command with the built-in pool."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.command import succeed as ferbench

SHORT = ("--set", "steps=20", "--device", "cpu", "--backbone", "small-resnet/4")


@pytest.mark.slow
def test_conformance() -> None:
    ferbench("plugins", "check", "dtm")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_dtm.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_it_learns_from_a_pool_and_is_called_a_reconstruction_everywhere(tmp_path: Path) -> None:
    runs, tables = str(tmp_path / "runs"), tmp_path / "tables"
    pool = ("--unlabeled", "synthfaces-fr")
    shown = [ferbench("run", "--method", "dtm", "--ratio", "0.05", *pool, "--runs", runs, *SHORT)]
    record = next((tmp_path / "runs").rglob("record.json"))
    assert json.loads(record.read_text())["plugin"]["title"] == "DTM-like (reconstruction)"
    history = json.loads(record.with_name("history.json").read_text())
    assert all(len(row["method"]["threshold"]) == 7 for row in history)
    ferbench("leaderboard", "build", "--runs", runs, "--out", str(tables), "--include-nonstandard")
    ferbench("report", str(record))
    for page in (tables / "leaderboard.md", record.with_name("report.html")):
        assert "DTM-like (reconstruction)" in page.read_text()
    shown += [ferbench("list", "methods"), ferbench("status", "--runs", runs)]
    assert all("DTM-like (reconstruction)" in text for text in shown)
