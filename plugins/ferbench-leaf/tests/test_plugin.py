"""The plugin from outside: ferbench's own checks, and runs of the real command on faces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferbench.cli.main import main
from ferbench.training.conformance import planned_checks

SHORT = ("--set", "steps=20", "--device", "cpu", "--backbone", "small-resnet/4", "--jobs", "2")


@pytest.mark.parametrize(("title", "check"), [pytest.param(t, c, id=t) for t, c in planned_checks("leaf")])
def test_conformance(title: str, check) -> None:  # type: ignore[no-untyped-def]
    result = check()
    assert result.ok, result.detail


def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_leaf.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_it_runs_on_the_built_in_faces_and_its_head_serves_another_method(tmp_path: Path) -> None:
    rows = "leaf,leaf@released,fixmatch+leaf"
    arguments = ["run", "--method", rows, "--ratio", "0.05", "--seed", "0", "--runs", str(tmp_path), *SHORT]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    found = {json.loads(path.read_text())["cell"]["method"]: path for path in tmp_path.rglob("record.json")}
    assert found.keys() == {"leaf", "fixmatch"}
    for path in tmp_path.rglob("history.json"):
        for row in json.loads(path.read_text()):
            for level in ("semantic", "instance"):
                gates = row["method"][f"{level}_gates"]
                assert len(gates) == 8
                assert sum(gates) == pytest.approx(1, abs=1e-5)
    assert CliRunner().invoke(main, ["report", str(found["fixmatch"])]).exit_code == 0
    assert "Method: semantic gates" in found["fixmatch"].with_name("report.html").read_text()
