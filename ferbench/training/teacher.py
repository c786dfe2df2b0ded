"""Exponential moving averages of nets: the teacher, and the averages of further networks."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class Teacher(Generic[N]):
    """Keeps an exponential moving average of a net's floating-point state in a second net, in three kernels.

    With a ramp the decay of step t (from 0) is min(decay, (1 + t) / (10 + t)), so that early averages forget the random
    start; without one it is constant. BatchNorm's running statistics are averaged too; integer state is copied. The
    second net is a copy, or `average`.
    """

    def __init__(self, net: N, decay: float, average: N | None = None, *, ramp: bool = True) -> None:
        self.source, self.decay, self.ramp = net, decay, ramp
        self.net = copy.deepcopy(net).eval().requires_grad_(False) if average is None else average
        source, target = net.state_dict(keep_vars=True), self.net.state_dict(keep_vars=True)
        floating = [key for key, value in source.items() if value.is_floating_point()]
        self._pairs = [source[key].detach() for key in floating], [target[key].detach() for key in floating]
        counting = [key for key in source if key not in floating]
        self._copied = [source[key] for key in counting], [target[key] for key in counting]

    def begin(self) -> None:
        """Start the average anew from the net as it is."""
        self.net.load_state_dict(self.source.state_dict())

    def weight(self, step: int) -> float:
        """How much the average takes of the net at a step, counted from 0: 1 - decay."""
        return 1 - (min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay)

    @torch.no_grad()
    def take(self, weight: float | Tensor) -> None:
        """Take one step of the average. A weight as scalar tensor, for a captured graph, gives the same numbers."""
        source, target = self._pairs
        if isinstance(weight, Tensor):
            torch._foreach_lerp_(target, source, [weight.to(value.dtype) for value in target])
        else:
            torch._foreach_lerp_(target, source, weight)
        if self._copied[0]:
            torch._foreach_copy_(self._copied[1], self._copied[0])
