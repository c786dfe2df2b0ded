"""Initial weights in the forms that people have, from planning a run to the net; what is no tensor is never read."""

import argparse
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from tests.support.command import Outcome, call
from tests.support.pattern_set import write_pattern_set

State = dict[str, Tensor]

FORMS: dict[str, Callable[[State], Any]] = {
    # As PyTorch before 0.4.1 wrote it
    "old.pth.tar": lambda state: {
        "state_dict": OrderedDict((k, v) for k, v in state.items() if "num_batches" not in k)
    },
    "model.pth": lambda state: {"model": state},
    "model_state_dict.pth": lambda state: {"model_state_dict": state},
    "encoder.pth": lambda state: {"state_dict": {f"encoder.{key}": value for key, value in state.items()}},
}


@pytest.fixture(scope="module")
def state() -> State:
    """Of ResNet-18 with a classifier, which no backbone here has."""
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=10).state_dict()


def plan(tmp_path: Path, file: Path) -> Outcome:
    data = write_pattern_set(tmp_path / "patterns")
    run = ("run", "--method", "supervised", "--dataset", str(data), "--ratio", "0.5", "--runs", str(tmp_path / "runs"))
    return call(*run, "--backbone", "timm/resnet18", "--init", str(file), "--dry-run")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_run_is_planned_with_weights_of_every_form(tmp_path: Path, state: State, name: str) -> None:
    file = tmp_path / name
    torch.save(FORMS[name](state), file)
    planned = plan(tmp_path, file)
    assert (planned.code, "1 to run" in planned.out) == (0, True), planned.err
    shown = call("init", "inspect", str(file), "--backbone", "timm/resnet18")
    assert shown.code == 0 and re.search(r"(\d+) of the net's \1 tensors matched; left over: 2 of fc", shown.out), shown


@pytest.mark.slow
def test_weights_beside_other_objects_are_refused_before_anything_runs(tmp_path: Path, state: State) -> None:
    file = tmp_path / "args.pth"
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=1)}, file)
    planned = plan(tmp_path, file)
    assert planned.code == 4 and "argparse.Namespace" in planned.err and "does not unpickle" in planned.err
    assert all(char.isprintable() or char == "\n" for char in planned.err)
