"""Several processes that train one cell under torchrun: each has its part of every batch."""

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ferbench.contract.method import Processes
from ferbench.contract.protocol import Recipe
from ferbench.errors import UsageError


def join_processes(device: torch.device) -> Processes:
    """This process among those that torchrun has started; one alone where it has not.

    Losses are those of one process with the whole batch, up to rounding: parts of a batch are added in another order.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(dist.get_world_size(), dist.get_rank(), _mean, _gather)


def own_device(name: str) -> torch.device:
    """The device of this process: under torchrun a GPU of its own."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        return device
    return torch.device(name)


def check_parts(recipe: Recipe, net: nn.Module, processes: Processes) -> None:
    """Raise UsageError for a batch that cannot be cut into equal parts, and for a net that would see the cuts."""
    if processes.count == 1:
        return
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        raise UsageError(
            f"a net with BatchNorm learns something else from {processes.count} parts of a batch; leave --processes "
            "away, or take a backbone without it (small-vit, timm's ViTs)"
        )
    for name in ("labeled_batch", "unlabeled_batch"):
        if (size := getattr(recipe, name)) % processes.count:
            raise UsageError(
                f"{name} {size} cannot be shared by {processes.count} processes; name another number with --processes"
            )


def _mean(value: Tensor) -> Tensor:
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def _gather(value: Tensor) -> Tensor:
    parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, value.detach().contiguous())
    return torch.cat(parts)
