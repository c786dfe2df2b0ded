"""Several processes train one cell under torchrun: each gets its part of every batch."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ferbench.contract.method import Processes
from ferbench.contract.protocol import Recipe
from ferbench.errors import UsageError

LONGEST_WAIT = timedelta(hours=6)
"""How long one process may keep the others waiting: it may wait for another cell's pre-training."""


def join_processes(device: torch.device, count: int) -> Processes:
    """Join this process with the others of the `count` that torchrun started for the cell.

    A loss that is a mean over images equals, up to rounding, that of one process with the whole batch. A loss that
    relates images to each other, such as a contrast or a mixture, relates only the images of a part, unless the method
    gathers them.
    """
    if count == 1:
        return Processes()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    return Processes(dist.get_world_size(), dist.get_rank(), _mean, _gather)


def own_device(name: str, count: int) -> torch.device:
    """The device of this process. With several processes each has its own GPU."""
    if name == "cuda" and count > 1:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        return device
    return torch.device(name)


def check_processes(recipe: Recipe, device: str, count: int) -> None:
    """Raise UsageError if a batch cannot be cut into `count` equal parts, or if all processes would share one GPU."""
    for name in ("labeled_batch", "unlabeled_batch"):
        if (size := getattr(recipe, name)) % count:
            raise UsageError(
                f"{name} {size} cannot be shared by {count} processes; name another number with --processes"
            )
    if count > 1 and device.startswith("cuda:") and "-" not in device:
        raise UsageError(f"--device {device}: {count} processes need a GPU each; use --device cuda")


def check_parts(net: nn.Module, count: int) -> None:
    """Raise UsageError for a net whose output would change if a batch is cut into `count` parts."""
    if count > 1 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        raise UsageError(
            f"the statistics of BatchNorm would differ across {count} parts of a batch; omit --processes, or "
            "take a backbone without it (small-vit, timm's ViTs)"
        )


def _mean(value: Tensor) -> Tensor:
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def _gather(value: Tensor) -> Tensor:
    gathered: Tensor = _Gather.apply(value)
    return gathered


class _Gather(torch.autograd.Function):
    """Joins the parts (B, ...) of all processes. The gradient of a part is summed over all processes."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.tensor_split(dist.get_world_size())[dist.get_rank()]
