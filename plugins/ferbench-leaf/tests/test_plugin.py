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
    ferbench("plugins", "check", "leaf")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_leaf.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_it_runs_on_the_built_in_faces_and_its_head_serves_another_method(tmp_path: Path) -> None:
    rows = "leaf,leaf@released,fixmatch+leaf"
    arguments = ["run", "--method", rows, "--ratio", "0.05", "--seed", "0", "--runs", str(tmp_path), *SHORT]
    ferbench(*arguments)
    found = {json.loads(path.read_text())["cell"]["method"]: path for path in tmp_path.rglob("record.json")}
    assert found.keys() == {"leaf", "fixmatch"}
    for path in tmp_path.rglob("history.json"):
        for row in json.loads(path.read_text()):
            for level in ("semantic", "instance"):
                gates = row["head"][f"{level}_gates"]
                assert len(gates) == 8
                assert sum(gates) == pytest.approx(1, abs=1e-5)
    ferbench("report", str(found["fixmatch"]))
    assert "Head: semantic gates" in found["fixmatch"].with_name("report.html").read_text()
