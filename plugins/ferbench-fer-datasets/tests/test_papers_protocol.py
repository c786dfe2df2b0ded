"""The papers' protocol on a copy of RAF-DB, from weights with the names of MS-Celeb's ResNet-18, by one command."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from tests.support.command import call

from ferbench.leaderboard.published import commands
from ferbench.leaderboard.reported import read_reported, shipped

from fer_lookalikes.learnable import write_raf_db

TRAIN, TEST = 18, 2
"""Images of each class: 100 labels are 10 of fear and 15 of each other class."""
TINY = ["image_size=32", "stored_size=24", "steps=4", "labeled_batch=4", "unlabeled_batch=4"]
WEIGHTS = "resnet18_msceleb.pth"

Change = Callable[[dict[str, torch.Tensor]], None]


def command() -> list[str]:
    """The command of Ada-CM's published number on RAF-DB, without the word `ferbench`."""
    values = [value for value in read_reported(shipped()) if value.block.origin.reproduced_by]
    (text,) = commands(values)
    words = shlex.split(text)[1:]
    assert words[words.index("--init") + 1] == WEIGHTS
    return words


def write_weights(path: Path, change: Change = lambda state: None) -> None:
    """As SCN, DAN, Ada-CM and LEAF have them: torchvision's names behind `module.`, below `state_dict`, with a `fc`."""
    torch.manual_seed(0)
    state = torchvision.models.resnet18(num_classes=1000).state_dict()
    change(state)
    torch.save({"epoch": 12, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a prepared look-alike of RAF-DB."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_raf_db(tmp_path / "raf-db", train=TRAIN, test=TEST)
    assert call("prepare", "raf-db", "--root", "raf-db", "--size", "24", "--workers", "1").code == 0
    return tmp_path


@pytest.mark.slow
def test_one_command_trains_as_the_paper_does(copy: Path) -> None:
    pytest.importorskip("ferbench_ada_cm")
    write_weights(copy / WEIGHTS)
    words = command()
    refused = call(*words, "--dry-run", "--executor", "local")
    assert refused.code == 2 and "4000 labels" in refused.err, "this copy is small"
    words[words.index("--labels") + 1] = "100"
    planned = call(*words, "--dry-run", "--executor", "local")
    assert planned.code == 0, planned.err
    cells = [line.split() for line in planned.out.splitlines() if "ada-cm@released" in line]
    assert [words[1:] for words in cells] == [["to", "run"]] * 5, "standard, all five"

    # The same on this copy: few steps, small images, one seed, in this process.
    words[words.index("--seed") + 1] = "0"
    chosen = [word for setting in TINY for word in ("--set", setting)]
    run = call(*words, *chosen, "--device", "cpu", "--executor", "inline", "--runs", "runs")
    assert run.code == 0, run.err
    fit = f"initial weights {WEIGHTS} (from 'state_dict', without the prefix 'module.'): 120 of the net's 120 tensors"
    assert fit in run.out, run.out
    (path,) = (copy / "runs").rglob("record.json")
    record = json.loads(path.read_text())
    recipe, result = record["config"]["protocol"], record["result"]
    assert {name: recipe[name] for name in ("stored_size", "image_size", "ema_ramp", "joint_forward", "warmup")} == {
        "stored_size": 24, "image_size": 32, "ema_ramp": False, "joint_forward": False, "warmup": 0.0,
    }  # fmt: skip
    assert result["labeled_counts"] == {name: 10 if name == "fear" else 15 for name in result["class_names"]}, (
        "Ada-CM's table"
    )
    assert result["n_unlabeled"] == 7 * TRAIN - 100
    assert (result["oracle"]["evaluations"], result["n_test"]) == (4, 7 * TEST), "one for each epoch"
    assert call("verify", str(path)).code == 0


def renamed(state: dict[str, torch.Tensor]) -> None:
    for name in [name for name in state if name.startswith("layer4")]:
        state[name.replace("layer4", "stage4")] = state.pop(name)


def narrower(state: dict[str, torch.Tensor]) -> None:
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [(renamed, "without layer4.0.conv1.weight"), (narrower, "conv1.weight 64x3x3x3, not 64x3x7x7")],
    ids=["other names", "other shapes"],
)
def test_weights_that_do_not_fit_are_refused_by_name_before_anything_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, named: str
) -> None:
    pytest.importorskip("ferbench_ada_cm")
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_raf_db(tmp_path / "raf-db", train=1, test=1)
    assert call("prepare", "raf-db", "--root", "raf-db", "--size", "16", "--workers", "1").code == 0
    before = sorted((tmp_path / "cache").rglob("*"))
    write_weights(tmp_path / WEIGHTS, change)
    refused = call(*command(), "--device", "cpu", "--runs", "runs")
    assert refused.code == 4, refused.out
    assert WEIGHTS in refused.err
    assert named in refused.err
    assert sorted((tmp_path / "cache").rglob("*")) == before
    assert not (tmp_path / "runs").exists()
