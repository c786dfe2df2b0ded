"""Checks for both heads and backbones, which map a batch to rows and are averaged, saved and resumed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ferbench.conformance.framework import Checks

STEPS = 3  # training steps before states are compared


@dataclass(frozen=True)
class NetworkCase:
    """A head or a backbone: a function that builds it, its inputs, and a function that returns its outputs by name."""

    build: Callable[[], nn.Module]
    inputs: Tensor
    outputs: Callable[[nn.Module, Tensor], Mapping[str, Tensor]]

    def built(self, seed: int = 0) -> nn.Module:
        """Build a new one after setting torch's seed."""
        torch.manual_seed(seed)
        return self.build()


COMMON = Checks()
"""The checks for heads and backbones."""


@COMMON.add(
    "random weights depend only on torch's seed",
    protects="reproduction and comparisons: one seed must always give the same net, so that methods start equal",
    mend="draw initial weights from torch's global generator, which the engine seeds; not from random, numpy or time",
)
def seeded(case: NetworkCase) -> None:
    states = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)
        states.append(case.built().state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"'{name}' differs between two nets built with the same torch seed"


@COMMON.add(
    "its state_dict contains all of its state",
    protects="checkpoints, resumed runs, the EMA teacher and saved models: they contain only the state_dict",
    mend="keep state in parameters and buffers (register_buffer), not in Python attributes or global variables",
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
                f"state_dict, in {'training' if mode else 'evaluation'} mode"
            )


@COMMON.add(
    "evaluation is deterministic",
    protects="scores and pseudo-labels: a model must give the same answer each time",
    mend="apply dropout and noise only if self.training is true; use nn.Dropout, or F.dropout(x, p, self.training)",
)
def same_in_evaluation(case: NetworkCase) -> None:
    net = case.built().eval()
    first, second = (_outputs(case, net, case.inputs, seed) for seed in (1, 2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"{name} differs between two passes in evaluation mode"


@COMMON.add(
    "in evaluation, an image gives the same output alone and in a batch",
    protects="scores: the prediction for a face must not depend on the other faces in the batch",
    mend="in evaluation mode, do not mix rows of the batch (batch statistics, attention over the batch)",
)
def no_mixing(case: NetworkCase) -> None:
    net = case.built()
    for _ in range(STEPS):  # so that BatchNorm's statistics are not the initial ones
        _train(case, net)
    net.eval()
    whole = _outputs(case, net, case.inputs)
    for row in range(len(case.inputs)):
        for name, value in _outputs(case, net, case.inputs[row : row + 1]).items():
            if value.ndim:
                assert torch.allclose(value[0], whole[name][row], rtol=1e-3, atol=1e-4), (
                    f"{name} of image {row} differs if the image is evaluated alone"
                )


def _outputs(case: NetworkCase, net: nn.Module, inputs: Tensor, seed: int = 0) -> Mapping[str, Tensor]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return case.outputs(net, inputs)


def _train(case: NetworkCase, net: nn.Module) -> None:
    """Take one step of gradient descent on an arbitrary loss."""
    net.train()
    outputs = case.outputs(net, case.inputs)
    total = torch.stack([value.float().square().mean() for value in outputs.values() if value.requires_grad]).sum()
    trained = [p for p in net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(0.01 * gradient)
