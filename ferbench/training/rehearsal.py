"""Tries steps without a trace, to count their cost and to let libraries and optimizers do their first-time setup."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ferbench.training.checkpoint import load_rng, rng_tensors
from ferbench.training.optimization import Optimizers
from ferbench.training.run import Run


@dataclass
class Cost:
    """What code costs each time it runs; the contract's `Counts`."""

    forward_images: int = 0
    optimizer_steps: int = 0


@contextmanager
def left_as_it_was(run: Run, optimizers: Optimizers) -> Iterator[None]:
    """After this block nets, method, optimizers and generators are as they were before, and gradients are gone.

    BatchNorm's statistics are restored too, since forwards of a warm-up move them. All tensors keep their memory. State
    that an optimizer made within the block is set to 0, which is how torch's own optimizers begin. It is not removed:
    a graph would make it again at each replay.
    """
    state = list(
        {id(value): value for module in run.modules.values() for value in module.state_dict().values()}.values()
    )
    state += [value for module in run.modules.values() for value in module.buffers()]  # buffers that no file holds
    parameters = [parameter for module in run.modules.values() for parameter in module.parameters()]
    kept = [value.clone() for value in state]
    moments = {name: _moments(optimizer.state) for name, optimizer in optimizers.items()}
    random = rng_tensors(run.task.device, run.method.random)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(state, kept)
            for name, optimizer in optimizers.items():
                for parameter, entry in optimizer.state.items():
                    for key, value in entry.items():
                        before = moments[name].get(parameter, {}).get(key)
                        value.zero_() if before is None else value.copy_(before)
        for parameter in parameters:
            parameter.grad = None
        load_rng(random, run.task.device, run.method.random)


def _moments(state: Mapping[Tensor, Mapping[str, Tensor | None]]) -> dict[Tensor, dict[str, Tensor]]:
    """Copies of an optimizer's tensors by parameter and name."""
    return {
        parameter: {key: value.clone() for key, value in entry.items() if value is not None}
        for parameter, entry in state.items()
    }
