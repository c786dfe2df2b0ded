"""Sends numbers that were drawn on the CPU to the device."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALIGNED = 16  # bytes: a view of the buffer in any type must begin at a multiple of its element size


def send(parts: Sequence[Any], device: torch.device) -> list[Any]:
    """Turn named tuples of arrays into named tuples of tensors on a device.

    All arrays go into one buffer, which is pinned for a GPU. So there is one copy, and nothing waits for it.
    """
    arrays = [np.asarray(array) for part in parts for array in part]
    ends = np.cumsum([-(-array.nbytes // _ALIGNED) * _ALIGNED for array in arrays], dtype=np.int64).tolist()
    buffer = torch.empty(ends[-1] if ends else 0, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for array, place in zip(arrays, _places(buffer.numpy(), arrays, ends), strict=True):
        place[...] = array.reshape(-1).view(np.uint8)
    moved = buffer.to(device, non_blocking=True)
    tensors = iter(
        place.view(_torch_type(array)).view(array.shape)
        for array, place in zip(arrays, _places(moved, arrays, ends), strict=True)
    )
    return [type(part)(*(next(tensors) for _ in part)) for part in parts]


def _places(buffer: Any, arrays: Iterable[NDArray[Any]], ends: Iterable[int]) -> list[Any]:
    """The bytes of each array in the buffer."""
    starts = [0, *ends]
    return [buffer[start : start + array.nbytes] for start, array in zip(starts, arrays, strict=False)]


def _torch_type(array: NDArray[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def to_device(parameters: Tensor, device: torch.device) -> Tensor:
    """Move parameters to the device of the images. The copy from the CPU to a GPU is queued; nothing waits for it."""
    if device.type == "cuda" and parameters.device.type == "cpu":
        return parameters.pin_memory().to(device, non_blocking=True)
    return parameters.to(device)
