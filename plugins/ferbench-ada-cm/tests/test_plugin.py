"""The plugin from outside: ferbench's own checks, and runs of the real command on faces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.command import succeed as ferbench

SHORT = ("--set", "steps=20", "--device", "cpu", "--backbone", "small-resnet/4", "--jobs", "2")


@pytest.mark.slow
def test_conformance() -> None:
    ferbench("plugins", "check", "ada-cm")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_ada_cm.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_it_runs_on_the_built_in_faces_and_shows_its_margins(tmp_path: Path) -> None:
    rows = "ada-cm,ada-cm@released,ada-cm@released-2022-04"
    arguments = ["run", "--method", rows, "--ratio", "0.05", "--seed", "0", "--runs", str(tmp_path), *SHORT]
    ferbench(*arguments)
    records = {path.parts[-4]: json.loads(path.read_text()) for path in tmp_path.rglob("record.json")}
    joint = {
        f"{record['cell']['variant']}": record["config"]["protocol"]["joint_forward"] for record in records.values()
    }
    assert joint == {"described": True, "released": False, "released-2022-04": False}
    for path in tmp_path.rglob("history.json"):
        for row in json.loads(path.read_text()):
            assert len(row["method"]["margin"]) == len(row["mask_rate_per_class"]) == 7
            assert {"supervised", "unlabeled", "contrast"} == row["terms"].keys()
    record = next(tmp_path.rglob("record.json"))
    ferbench("report", str(record))
    assert "Method: margin" in record.with_name("report.html").read_text()
