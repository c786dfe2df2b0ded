"""What every head and every backbone must keep: both map a batch to rows and are averaged, saved and resumed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ferbench.conformance.framework import Checks

STEPS = 3  # of training before its state is compared


@dataclass(frozen=True)
class NetworkCase:
    """A head or a backbone: how it is built, what it is given, and what it gives, by name."""

    build: Callable[[], nn.Module]
    inputs: Tensor
    outputs: Callable[[nn.Module, Tensor], Mapping[str, Tensor]]

    def built(self, seed: int = 0) -> nn.Module:
        """A new one from torch's seed."""
        torch.manual_seed(seed)
        return self.build()


COMMON = Checks()
"""Those that hold for heads and backbones alike."""


@COMMON.add(
    "random weights come from torch's seed alone",
    protects="that a seed gives one net: cells are computed again from it, and methods are compared from equal starts",
    mend="draw initial weights from torch's global generator, which the engine seeds; not from random, numpy or time",
)
def seeded(case: NetworkCase) -> None:
    states = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)
        states.append(case.built().state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"'{name}' differs between two nets built from one torch seed"


@COMMON.add(
    "its state is all in its state_dict",
    protects="checkpoints, resumed runs, the EMA teacher and saved models, which hold the state_dict and nothing else",
    mend="keep state in parameters and buffers (register_buffer), not in attributes of Python or in the module",
)
def no_hidden_state(case: NetworkCase) -> None:
    trained = case.built()
    for _ in range(STEPS):
        _train(case, trained)
    fresh = case.built(seed=1)
    fresh.load_state_dict(trained.state_dict())
    for mode in (True, False):
        first, second = (_outputs(case, net.train(mode), case.inputs) for net in (trained, fresh))
        for name, value in first.items():
            assert torch.equal(value, second[name]), (
                f"{name} differs between a net that was trained for {STEPS} steps and a new one with its "
                f"state_dict, "
                f"in {'training' if mode else 'evaluation'} mode"
            )


@COMMON.add(
    "evaluation is deterministic",
    protects="scores and pseudo-labels: a model must give the same answer each time",
    mend="let dropout and noise act only where self.training is true; use nn.Dropout, or F.dropout(x, p, "
    "self.training)",
)
def same_in_evaluation(case: NetworkCase) -> None:
    net = case.built().eval()
    first, second = (_outputs(case, net, case.inputs, seed) for seed in (1, 2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"{name} differs between two passes in evaluation mode"


@COMMON.add(
    "an image is evaluated alone as in a batch",
    protects="scores: what is predicted for a face must not depend on which faces are tested beside it",
    mend="let no operation in evaluation mode mix rows of the batch (batch statistics, attention over the batch)",
)
def no_mixing(case: NetworkCase) -> None:
    net = case.built()
    for _ in range(STEPS):  # statistics of BatchNorm that are not those of the start
        _train(case, net)
    net.eval()
    whole = _outputs(case, net, case.inputs)
    for row in range(len(case.inputs)):
        for name, value in _outputs(case, net, case.inputs[row : row + 1]).items():
            if value.ndim:
                assert torch.allclose(value[0], whole[name][row], rtol=1e-3, atol=1e-4), (
                    f"{name} of image {row} differs if it is evaluated alone"
                )


def _outputs(case: NetworkCase, net: nn.Module, inputs: Tensor, seed: int = 0) -> Mapping[str, Tensor]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return case.outputs(net, inputs)


def _train(case: NetworkCase, net: nn.Module) -> None:
    """One step of gradient descent on some loss."""
    net.train()
    outputs = case.outputs(net, case.inputs)
    total = torch.stack([value.float().square().mean() for value in outputs.values() if value.requires_grad]).sum()
    trained = [p for p in net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(0.01 * gradient)
