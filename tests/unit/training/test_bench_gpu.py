"""The benchmark of a GPU runs from end to end, at a size that a CPU takes."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.benchmarks.on_gpu import GOALS, Setting, Timed, judged, main
from tests.support.paper_loops import LOOPS


@pytest.mark.slow
def test_it_runs_on_a_cpu_and_says_that_this_says_nothing_of_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(main, ["--device", "cpu", "--tiny", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no GPU: the goals are unmeasured" in done.output
    found = json.loads(out.read_text())
    rows = {(row["setting"]["method"], row["mode"]): row for row in found["rows"]}
    for mode in ("net alone", "off", "net"):
        assert rows["fixmatch", mode]["images_per_second"] > 0, rows["fixmatch", mode]["reason"]
    assert rows["fixmatch", "off"]["of_the_net"] > 0
    assert rows["fixmatch", "step"]["reason"] == "FerbenchError: no CUDA device"
    for name, (method, _) in LOOPS.items():
        assert rows[method, name]["milliseconds"] > 0
    assert found["two runs of one seed are equal"] is True
    assert len(found["last loss by precision"]["bf16"]) == 1


def test_goals_are_judged_by_the_best_mode() -> None:
    batches, goal = next(iter(GOALS.items()))
    setting = Setting("fixmatch", "timm/resnet18", 112, batches)
    rows = [Timed(setting, mode, 1.0, 1.0, share) for mode, share in (("off", 0.3), ("step", 0.7), ("net alone", 1.0))]
    assert judged(rows, torch.device("cuda"))[0] == f"FixMatch, 112 px, 32+96: 70% of the net's rate (goal {goal:.0%})"
