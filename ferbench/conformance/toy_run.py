"""Run a method on the toy task from start to end, with optional stops or observers."""

import inspect
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ferbench.conformance.toy_task import RECIPE, toy_task, toy_training
from ferbench.contract.batch import Batch, Losses, View
from ferbench.contract.events import EpochRow
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.protocol import Recipe
from ferbench.errors import FerbenchError
from ferbench.records.cell import digest
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes
from ferbench.training.loop import Training, train
from ferbench.training.stages import stage_steps
from ferbench.training.steps import OptimizerSteps

Views = Mapping[str, Callable[..., View]]
Observer = Callable[[Callable[[Batch], Losses], Batch, Training], Losses]
"""Called instead of a stage's loss; its first argument is that loss."""


@dataclass(frozen=True)
class Ended:
    """The end of a run: a digest of the evaluated weights, and one that includes the method's state and the history."""

    weights: str
    everything: str
    history: Sequence[EpochRow]
    method: Method
    inner_steps: Mapping[str, int]
    """Number of steps that the engine did not take, by class of the optimizer."""


class _Stopped(FerbenchError):
    """Simulates Ctrl-C."""


def recipe_of(method: Method, steps: int = RECIPE.steps) -> Recipe:
    """Return the toy recipe, with its steps chosen so that the whole run, with pre-training, has about `steps`."""
    stages = list(method.stages())
    whole = sum(stage_steps(steps, stages))
    return RECIPE.model_copy(update={"steps": max(len(stages), steps * steps // whole)})


def run_toy(
    method_class: type[Method],
    config: MethodConfig,
    *,
    steps: int = RECIPE.steps,
    stops: Sequence[int] = (),
    observer: Observer | None = None,
    after_step: Callable[[Training], None] | None = None,
    views: Views | None = None,
) -> Ended:
    """Train to the end; at each of `stops`, counted over all stages, stop the run and resume it with a new method.

    `views` are functions of further views, by name, besides the protocol's.
    """
    recipe = recipe_of(method_class(config), steps)
    made = method_class(config)
    task = toy_task(unlabeled=made.uses_unlabeled, validation="validation" in made.requires, kinds=views)
    with tempfile.TemporaryDirectory() as folder:

        def begin() -> Training:
            return toy_training(method_class(config), Path(folder), recipe=recipe, task=task)

        for begun, stop in itertools.pairwise([0, *stops]):
            _train_until(begin(), stop - begun)
        training = begin()
        if observer is not None:
            _observe(training, observer)
        if after_step is not None:
            training.stop = lambda: after_step(training)
        with inner_optimizer_steps() as inner:
            progress = train(training)
        method = training.run.method
        weights = state_digest(method.evaluation_net())
        everything = [weights, state_digest(method), [row.to_json() for row in progress.history]]
        return Ended(weights, digest(everything), progress.history, method, inner)


def _train_until(training: Training, steps: int) -> None:
    asked = itertools.count(1)
    training.stop = lambda: _Stopped("stop") if next(asked) == steps else None
    try:
        train(training)
    except _Stopped:
        return
    raise AssertionError(f"the run did not stop after {steps} steps as requested")


def _observe(training: Training, observer: Observer) -> None:
    def observed(loss: Callable[[Batch], Losses]) -> Callable[[Batch], Losses]:
        return lambda batch: observer(loss, batch, training)

    training.stages = [
        replace(planned, stage=replace(planned.stage, loss=observed(planned.stage.loss))) for planned in training.stages
    ]


def state_digest(module: torch.nn.Module) -> str:
    """Return a digest of all tensors in a module's state."""
    return digest(checkpoint_bytes(Checkpoint(tensors=dict(module.state_dict()))).hex())


@contextmanager
def inner_optimizer_steps() -> Iterator[Counter[str]]:
    """In this block count the optimizer steps that the engine does not take, by class of the optimizer."""
    counts: Counter[str] = Counter()

    def count(optimizer: Any, *_: Any) -> None:
        if not _engine_steps():
            counts[type(optimizer).__name__] += 1

    handle = register_optimizer_step_post_hook(count)
    try:
        yield counts
    finally:
        handle.remove()


def _engine_steps() -> bool:
    """Whether the engine called the optimizer that has just stepped."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not OptimizerSteps.step.__code__:
        frame = frame.f_back
    return frame is not None
