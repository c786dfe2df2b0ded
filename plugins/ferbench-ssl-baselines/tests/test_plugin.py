"""The plugin from outside: ferbench's own checks, refusals, and runs of the real command on faces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.archives import describe
from tests.support.command import call
from tests.support.command import succeed as ferbench
from tests.support.pattern_set import write_pattern_set
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run
from tests.support.waiting import NothingWaits

from ferbench.contract.method import Method
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Entry

DISTRIBUTION = "ferbench-ssl-baselines"
METHODS = [entry for entry in load_registry().entries["methods"].values() if entry.distribution == DISTRIBUTION]
MOST_LINES = {"comatch": 120, "simmatch": 120, "meta-pseudo-labels": 120}
SHORT = ("--set", "steps=20", "--set", "evaluations=1", "--device", "cpu", "--backbone", "small-resnet/4")


@pytest.mark.slow
@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_conformance(entry: Entry) -> None:
    ferbench("plugins", "check", entry.name)


@pytest.mark.storm
@pytest.mark.slow
@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_conformance_with_other_processes_and_the_leak_audit(entry: Entry) -> None:
    ferbench("plugins", "check", entry.name, "--slow")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    module = "ferbench_ssl_baselines.plugin"
    code = f"import sys, {module}; print(sorted({{'torch', 'pandas', 'pydantic'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_a_method_is_one_short_file_and_inherits_from_no_other(entry: Entry) -> None:
    method = entry.load()
    assert method.__bases__ == (Method,)
    file = Path(str(sys.modules[method.__module__].__file__))
    assert len(file.read_text("utf-8").splitlines()) <= MOST_LINES.get(entry.name, 80)


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_nothing_in_a_step_waits_for_the_device(entry: Entry, tmp_path: Path) -> None:
    stepper = Stepper(toy_run(load_registry(), entry.name, tmp_path), -1)
    batch = stepper.batch(0)
    with NothingWaits():
        stepper.step(0, batch)


def test_a_method_that_knows_each_image_of_the_pool_is_refused_on_a_stream(tmp_path: Path) -> None:
    patterns = write_pattern_set(tmp_path / "patterns")
    crowd = str(describe(tmp_path / "crowd", "folder"))
    arguments = ("--dataset", str(patterns), "--unlabeled", crowd, "--protocol", "external-v1", "--ratio", "0.1")
    done = call("run", "--method", "flexmatch", *arguments, "--dry-run", *SHORT)
    assert done.code == 2
    assert "method 'flexmatch'" in done.err and "'crowd' is a stream" in done.err


@pytest.mark.slow
def test_they_run_on_the_built_in_faces(tmp_path: Path) -> None:
    rows = "dash,adamatch,vat"
    ferbench("run", "--method", rows, "--ratio", "0.05", "--seed", "0", "--runs", str(tmp_path), *SHORT)
    records = {path.parts[-4].partition("~")[0]: path for path in tmp_path.rglob("record.json")}
    assert records.keys() == set(rows.split(","))
    config = json.loads(records["adamatch"].read_text())["config"]
    assert config["protocol"]["joint_forward"] is True
    ferbench("report", str(records["dash"]))
