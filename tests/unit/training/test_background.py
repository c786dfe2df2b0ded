"""What is written behind the training: in order, whole, and never lost in silence."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training
from ferbench.errors import DataError
from ferbench.training import background as background_module
from ferbench.training.background import Background
from ferbench.training.checkpoint import Checkpoint, before, on_host, packed, read_checkpoint, unpacked
from ferbench.training.loop import Training, train
from tests.support.stopped_runs import stop_after, train_until_stopped


def test_calls_come_one_after_another_and_all_are_done_at_the_end() -> None:
    go, seen = threading.Event(), []
    with Background() as background:
        background.call(lambda: (go.wait(10), seen.append(1))[1])
        assert seen == [], "the call itself does not wait"
        go.set()
        background.call(lambda: seen.append(2))
    assert seen == [1, 2]


def fail() -> None:
    raise DataError("the disk is full")


def test_what_a_call_held_is_free_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keeps(ThreadPoolExecutor):
        """A pool whose thread keeps what it was given, as the real one does for a moment."""

        def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
            kept.append(function)
            return super().submit(function, *arguments, **named)

    class State:
        """What is written: much memory."""

    kept: list[Callable[..., Any]] = []
    monkeypatch.setattr(background_module, "ThreadPoolExecutor", Keeps)
    state = State()
    alive = weakref.ref(state)
    with Background() as background:
        background.call(partial(id, state))
        del state
        background.wait()
        assert kept and alive() is None


@pytest.mark.parametrize("then", ["call", "wait", "leave"])
def test_what_a_call_raises_is_raised_here(then: str) -> None:
    with pytest.raises(DataError, match="the disk is full"), Background() as background:
        background.call(fail)
        if then == "call":
            background.call(lambda: None)
        elif then == "wait":
            background.wait()


def test_the_blocks_own_error_is_the_one_that_is_told() -> None:
    with pytest.raises(ZeroDivisionError), Background() as background:
        background.call(fail)
        _ = 1 / 0


def training(folder: Path, **more: object) -> Training:
    return toy_training(FixMatch(FixMatch.Config(threshold=0.5)), folder, **more)


def test_a_checkpoint_is_the_state_of_its_step_whatever_later_steps_do(tmp_path: Path) -> None:
    """The first write is held back until five epochs have been trained on."""
    held = training(tmp_path / "held")
    released, write = threading.Event(), held._write

    def late(state: Checkpoint) -> None:
        released.wait(30)
        write(state)

    held._write = late  # type: ignore[method-assign]
    call, saved = held.background.call, []

    def only_first(function):  # type: ignore[no-untyped-def]
        if not saved:
            call(function)
        saved.append(1)
        if len(saved) == 5:
            released.set()

    held.background.call = only_first  # type: ignore[method-assign]
    train(held)
    whole = train_until_stopped(training(tmp_path / "whole"), 2)
    late_state, state = (read_checkpoint(each.checkpoint_path) for each in (held, whole))
    assert late_state.state["progress"]["step"] == state.state["progress"]["step"] == 2
    assert late_state.tensors.keys() == state.tensors.keys()
    assert all(torch.equal(late_state.tensors[name], value) for name, value in state.tensors.items())


def test_a_run_that_stops_leaves_its_newest_checkpoint_and_the_one_before(tmp_path: Path) -> None:
    stopped = train_until_stopped(training(tmp_path), 7)
    newest, older = (read_checkpoint(path) for path in (stopped.checkpoint_path, before(stopped.checkpoint_path)))
    assert (newest.state["progress"]["step"], older.state["progress"]["step"]) == (7, 6)


def test_a_run_ends_with_the_error_of_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    """The lease is lost between two steps: nothing is written, and the run says so."""
    asked = []

    def owned() -> None:
        asked.append(threading.current_thread() is threading.main_thread())
        if asked.count(False) == 3:
            raise DataError("another process has taken the cell over")

    run = training(tmp_path, owned=owned, stop=stop_after(30))
    with pytest.raises(DataError, match="taken the cell over"):
        train(run)
    assert read_checkpoint(run.checkpoint_path).state["progress"]["step"] == 4


def test_tensors_of_a_device_come_over_in_one_piece() -> None:
    """Of all types and shapes, at any place in the piece."""
    tensors = {
        "flag": torch.tensor([True, False, True]),
        "step": torch.tensor(3.5),
        "weight": torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last),
        "count": torch.tensor(2**40),
        "half": torch.randn(7).bfloat16(),
        "none": torch.ones(0, 4),
        "double": torch.randn(3, dtype=torch.float64),
        "generator": torch.get_rng_state(),
        "every other": torch.arange(10, dtype=torch.int16)[::2],
    }
    flat = packed(tensors)
    assert flat.shape == (sum(value.nbytes for value in tensors.values()),)
    found = unpacked(flat, tensors)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype and found[name].is_contiguous()
        assert torch.equal(found[name], value), name
    assert all(on_host(tensors)[name].data_ptr() == value.data_ptr() for name, value in tensors.items()), "no copies"
