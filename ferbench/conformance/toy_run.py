"""A method's run on the toy task, from start to end, with stops or observers on the way."""

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
from ferbench.training.loop import OptimizerSteps, Training, train
from ferbench.training.stages import stage_steps

Views = Mapping[str, Callable[..., View]]
Observer = Callable[[Callable[[Batch], Losses], Batch, Training], Losses]
"""Called in place of a stage's loss, with that loss."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: digests of the evaluated weights, and of these with the method's state and the history."""

    weights: str
    everything: str
    history: Sequence[EpochRow]
    method: Method
    inner_steps: Mapping[str, int]
    """Steps that the engine did not take, by the optimizer's class."""


class _Stopped(FerbenchError):
    """Stands for Ctrl-C."""


def recipe_of(method: Method, steps: int = RECIPE.steps) -> Recipe:
    """The toy recipe with so many steps that the whole run has about `steps`, those of pre-training included."""
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
    """Train to the end; at each of `stops`, counted over all stages, the run is cut and taken up by a new method.

    `views` are functions of views by name, beside the protocol's.
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
    raise AssertionError("the run did not stop where it was asked to")


def _observe(training: Training, observer: Observer) -> None:
    def observed(loss: Callable[[Batch], Losses]) -> Callable[[Batch], Losses]:
        return lambda batch: observer(loss, batch, training)

    training.stages = [
        replace(planned, stage=replace(planned.stage, loss=observed(planned.stage.loss))) for planned in training.stages
    ]


def state_digest(module: torch.nn.Module) -> str:
    """A digest of all tensors of a module's state."""
    return digest(checkpoint_bytes(Checkpoint(tensors=dict(module.state_dict()))).hex())


@contextmanager
def inner_optimizer_steps() -> Iterator[Counter[str]]:
    """Within it the optimizer steps that the engine does not take are counted, by the optimizer's class."""
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
