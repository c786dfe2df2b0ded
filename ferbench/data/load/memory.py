"""Checks whether images fit into memory, before they are loaded."""

import math
from collections.abc import Sequence

import psutil
import torch

from ferbench.errors import DataError


def check_memory(shape: Sequence[int], device: torch.device) -> None:
    """Raise DataError, with figures, if uint8 images (N, S, S, 3) do not fit into the memory that is free now."""
    wanted, free = math.prod(shape), psutil.virtual_memory().available
    where = "memory"
    if device.type == "cuda" and (of_device := torch.cuda.mem_get_info(device)[0]) < free:
        where, free = f"memory of {device}", of_device
    if wanted > free:
        raise DataError(
            f"{shape[0]:,} images of {shape[1]} pixels take {wanted / 1e9:.1f} GB of {where}, and {free / 1e9:.1f} GB "
            f"are free; use a machine with more, or smaller images with --set stored_size={shape[1] // 2}"
        )
