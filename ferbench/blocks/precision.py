"""Arithmetic that autocast must not shorten."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Within it nothing on the device is computed in fewer bits than its inputs have."""
    if not torch.amp.is_autocast_available(device.type):  # meta tensors
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
