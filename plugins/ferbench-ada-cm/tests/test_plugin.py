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


@pytest.mark.parametrize(("title", "check"), [pytest.param(t, c, id=t) for t, c in planned_checks("ada-cm")])
def test_conformance(title: str, check) -> None:  # type: ignore[no-untyped-def]
    result = check()
    assert result.ok, result.detail


def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_ada_cm.plugin; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_it_runs_on_the_built_in_faces_and_shows_its_margins(tmp_path: Path) -> None:
    rows = "ada-cm,ada-cm@released,ada-cm@released-2022-04"
    arguments = ["run", "--method", rows, "--ratio", "0.05", "--seed", "0", "--runs", str(tmp_path), *SHORT]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
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
    assert CliRunner().invoke(main, ["report", str(record)]).exit_code == 0
    assert "Method: margin" in record.with_name("report.html").read_text()
