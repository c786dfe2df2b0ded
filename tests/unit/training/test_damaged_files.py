"""What a run has left on disk is taken up as it was written, or not at all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training
from ferbench.contract.method import MethodConfig
from ferbench.errors import DataError
from ferbench.records.in_progress import IN_PROGRESS, said_file, snapshot_file
from ferbench.records.tensor_files import DamagedTensorsError, read_arrays
from ferbench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ferbench.training.loop import Training, train
from ferbench.training.stage_cache import StageCache
from tests.support.stopped_runs import train_until_stopped
from tests.unit.training.pretrained import Pretrained


def flip(path: Path, place: float = 0.7) -> None:
    """Change one bit of a file, somewhere in its tensors."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


def stopped(folder: Path, after: int) -> Training:
    """A run that was stopped after so many steps, and has written checkpoints at its epochs."""
    return train_until_stopped(toy_training(FixMatch(FixMatch.Config()), folder), after)


def state(training: Training) -> list[object]:
    return [training.progress.history, [value.tolist() for value in training.run.net.state_dict().values()]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    training = toy_training(FixMatch(FixMatch.Config()), tmp_path_factory.mktemp("whole"))
    train(training)
    return state(training)


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 0.999])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, whole: list[object], place: float
) -> None:
    newest = stopped(tmp_path, after=9).checkpoint_path
    flip(newest, place)
    notices: list[object] = []
    again = toy_training(FixMatch(FixMatch.Config()), tmp_path, events=notices.append)
    assert train(again).resumed == 1
    assert any(str(newest) in str(notice) for notice in notices)
    assert state(again) == whole


def test_two_damaged_checkpoints_are_named_and_the_run_begins_anew(tmp_path: Path, whole: list[object]) -> None:
    stopped(tmp_path, after=9)
    files = list(tmp_path.glob("checkpoint*.safetensors"))
    assert len(files) == 2
    for path in files:
        flip(path)
    notices: list[object] = []
    again = toy_training(FixMatch(FixMatch.Config()), tmp_path, events=notices.append)
    assert train(again).resumed == 0
    assert all(any(str(path) in str(notice) for notice in notices) for path in files)
    assert state(again) == whole


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before(tmp_path: Path, whole: list[object]) -> None:
    flip(stopped(tmp_path, after=9).checkpoint_path)
    flip(stopped(tmp_path, after=1).checkpoint_path)
    again = toy_training(FixMatch(FixMatch.Config()), tmp_path)
    assert train(again).resumed >= 1
    assert state(again) == whole


@pytest.mark.parametrize("file_of", [said_file, snapshot_file])
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_run_that_has_lost_what_labels_are_joined_with_begins_anew(
    tmp_path: Path, whole: list[object], file_of: Callable[[Path, int], Path], damage: Callable[[Path], object]
) -> None:
    training = stopped(tmp_path, after=25)
    path = min(file_of(tmp_path / IN_PROGRESS, 1).parent.glob("*"), key=lambda path: int(path.stem))
    damage(path)
    again = toy_training(FixMatch(FixMatch.Config()), tmp_path)
    assert train(again).resumed == 0
    assert state(again) == whole
    assert training.progress.step > 0 and path.is_file()


def test_a_damaged_stage_of_the_cache_is_named_and_trained_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = StageCache(tmp_path / "stages", {"data": "toy"})
    first = toy_training(Pretrained(MethodConfig()), tmp_path / "a", stage_cache=cache)
    train(first)
    (path,) = (tmp_path / "stages").glob("*.safetensors")
    flip(path)
    second = toy_training(Pretrained(MethodConfig()), tmp_path / "b", stage_cache=cache)
    train(second)
    assert str(path) in caplog.text
    assert state(second) == state(first)
    assert read_checkpoint(path).tensors


def test_a_checkpoint_that_does_not_fit_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = stopped(tmp_path, after=9).checkpoint_path
    good = read_checkpoint(path)
    weight = next(name for name, value in good.tensors.items() if name.startswith("net/") and value.ndim > 1)
    strange = {
        "a tensor is missing": Checkpoint({k: v for k, v in good.tensors.items() if k != weight}, good.state),
        "a tensor has another shape": Checkpoint({**good.tensors, weight: torch.zeros(1, 2)}, good.state),
        "a step is negative": Checkpoint(
            good.tensors, {**good.state, "progress": {**good.state["progress"], "step": -1}}
        ),
        "no progress": Checkpoint(good.tensors, {k: v for k, v in good.state.items() if k != "progress"}),
        "progress of another shape": Checkpoint(good.tensors, {**good.state, "progress": [1]}),
        "no optimizers": Checkpoint(good.tensors, {**good.state, "optimizers": {}}),
        "no generators": Checkpoint({k: v for k, v in good.tensors.items() if not k.startswith("rng")}, good.state),
    }
    for what, checkpoint in strange.items():
        write_checkpoint(path, checkpoint)
        with pytest.raises(DataError, match="does not fit its cell") as caught:
            train(toy_training(FixMatch(FixMatch.Config()), tmp_path))
        assert str(path) in str(caught.value), what


def test_arrays_are_the_tensors_that_were_written(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(3, dtype=torch.int16),
        "b": torch.tensor(2.5),
        "c": torch.ones(0, 4),
        "d": torch.ones(2) > 0,
    }
    write_checkpoint(tmp_path / "t", Checkpoint(dict(tensors)))
    found = read_arrays(tmp_path / "t")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], value.numpy()) for name, value in tensors.items())
    save_file(tensors, tmp_path / "t")
    with pytest.raises(DamagedTensorsError, match="t: not a file written by ferbench"):
        read_arrays(tmp_path / "t")
