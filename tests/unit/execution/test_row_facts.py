"""Planning without torch: a process asks code and nets once, and what it leaves is what they say."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ferbench.cells.request import RunRequest
from ferbench.discovery.loader import load_registry
from ferbench.execution.plan import Planner, make_plan

pytestmark = [pytest.mark.process, pytest.mark.slow]

SCRIPT = """
import json, sys
from pathlib import Path
from ferbench.cells.request import RunRequest
from ferbench.discovery.loader import load_registry
from ferbench.errors import FerbenchError
from ferbench.execution.plan import make_plan

options = json.loads(sys.argv[1])
try:
    plan = make_plan(RunRequest(**{**options, "runs": Path(options["runs"])}), load_registry(), pack=False)
    found = [[item.job.to_json(), item.departures] for item in plan]
except FerbenchError as error:
    found = str(error)
print(json.dumps([found, "torch" in sys.modules]))
"""


def plan_apart(options: dict[str, Any], cache: Path) -> tuple[Any, bool]:
    """The jobs of a plan with their departures, or why there is none, and whether the planning process has torch."""
    environment = {**os.environ, "FERBENCH_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(options)], env=environment, capture_output=True, check=True
    )
    found, has_torch = json.loads(done.stdout)
    return found, has_torch


def test_what_is_remembered_is_what_the_code_says(patterns: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "methods": ["fixmatch", "leaf@released", "supervised@strong+leaf"], "datasets": [str(patterns)],
        "ratios": ["0.1"], "seeds": [0, 7], "backbones": ["small-resnet/4"], "device": "cpu",
        "runs": str(tmp_path / "runs"), "overrides": {"image_size": 16, "fixmatch.threshold": "0.70"},
    }  # fmt: skip
    cache = tmp_path / "cache"
    here = make_plan(RunRequest(**{**options, "runs": tmp_path / "runs"}), load_registry(), check_data=False)
    wanted = json.loads(json.dumps([[item.job.to_json(), item.departures] for item in here]))
    assert plan_apart(options, cache) == (wanted, False)
    written = {path: path.stat().st_mtime_ns for path in (cache / "rows").iterdir()}
    assert len(written) == 3
    more = {**options, "seeds": [3], "ratios": ["0.05", "0.07"], "threads": 2}
    found, has_torch = plan_apart(more, cache)
    assert (len(found), has_torch) == (6, False)
    assert {path: path.stat().st_mtime_ns for path in (cache / "rows").iterdir()} == written, "nothing was asked again"
    for path in written:
        path.write_text("{")
    assert plan_apart(options, cache) == (wanted, False), "what is damaged is asked again"


def test_what_is_old_is_forgotten_when_more_is_remembered(patterns: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "methods": ["supervised"], "datasets": [str(patterns)], "ratios": ["0.1"], "runs": str(tmp_path / "runs"),
        "backbones": ["small-resnet/4"], "overrides": {"image_size": 16}, "device": "cpu",
    }  # fmt: skip
    rows = tmp_path / "cache" / "rows"
    rows.mkdir(parents=True)
    for name, days in (("old", 31), ("young", 29)):
        (rows / name).touch()
        then = time.time() - days * 86_400
        os.utime(rows / name, (then, then))
    plan_apart(options, tmp_path / "cache")
    assert not (rows / "old").exists() and (rows / "young").exists()
    assert len(list(rows.iterdir())) == 2


def test_a_net_that_cannot_be_is_refused_each_time(patterns: Path, tmp_path: Path) -> None:
    options = {
        "methods": ["supervised"], "datasets": [str(patterns)], "ratios": ["0.1"], "runs": str(tmp_path / "runs"),
        "backbones": ["timm/convnext_atto"], "overrides": {"image_size": 8}, "device": "cpu",
    }  # fmt: skip
    for _ in range(2):
        reason, _ = plan_apart(options, tmp_path / "cache")
        assert "'timm/convnext_atto' does not take images of 8 px" in reason


def test_another_question_has_another_answer(patterns: Path, tmp_path: Path) -> None:
    def places(**changes: Any) -> set[Path]:
        options: dict[str, Any] = {"methods": ["supervised"], "datasets": [str(patterns)], "ratios": ["0.1"]}
        planner = Planner(RunRequest(**{**options, **changes}), load_registry())
        return {planner.remembered.path(row) for row in planner.grid.grid_rows()}

    weights = []
    for number in range(2):
        weights.append(tmp_path / f"{number}.pth")
        weights[-1].write_bytes(bytes([number]))
    asked = [
        {}, {"overrides": {"steps": 10}}, {"overrides": {"steps": 20}}, {"head": "leaf"}, {"protocol": "ratio-v2"},
        {"backbones": ["small-vit"]}, {"methods": ["supervised@strong"]}, {"device": "cuda", "processes": 2},
        {"init": str(weights[0])}, {"init": str(weights[1])}, {"ratios": (), "counts": (40,)},
    ]  # fmt: skip
    assert len(set().union(*(places(**changes) for changes in asked))) == len(asked)
    assert places() == places(seeds=(4,), ratios=("0.25",), runs=Path("elsewhere"), threads=3, timeout=5.0)
    assert places(methods=["supervised", "fixmatch"]) > places()
