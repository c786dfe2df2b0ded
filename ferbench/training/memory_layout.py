"""How a net's tensors lie in memory: channels last, except where that is slower."""

from typing import TypeVar

import torch
from torch import Tensor, nn

LARGE_KERNEL = 2_000_000
"""Weights from which oneDNN's weight gradient costs 1.1 to 1.4 times as much in channels_last (512 to 512, 3 x 3)."""

M = TypeVar("M", bound=nn.Module)


def lay_out(net: M, device: torch.device) -> M:
    """Move a net to its device in channels_last memory; on a CPU convolutions of large kernels stay channels first."""
    net = net.to(device).to(memory_format=torch.channels_last)
    if device.type == "cpu":
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() >= LARGE_KERNEL:
                module.to(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(_channels_first)
                module.register_forward_hook(_channels_last)
    return net


def _channels_first(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)


def _channels_last(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.contiguous(memory_format=torch.channels_last)
