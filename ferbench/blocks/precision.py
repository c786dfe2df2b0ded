"""Full precision for computations that must not run under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """In this block nothing on the device is computed in a lower precision than that of its inputs."""
    if not torch.amp.is_autocast_available(device.type):  # meta tensors
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
