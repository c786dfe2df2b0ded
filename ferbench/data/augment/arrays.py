"""Arithmetic that runs on NumPy arrays and on tensors alike.

The colour operations work on a few images each, so on a CPU the fixed cost of a call decides: a few us in PyTorch,
under 1 us in NumPy. They are therefore written in what the two libraries share, see CPU images as arrays on the same
memory (`native`), and tensors on a GPU. What differs between the libraries is here.
"""

from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[Any], Tensor)
"""One of the two, the same for all arguments and results of a function."""


def native(tensor: Tensor) -> Any:
    """A CPU tensor as an array on the same memory; any other tensor as it is."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def library(x: NDArray[Any] | Tensor) -> ModuleType:
    """The module whose functions fit `x`."""
    return torch if isinstance(x, Tensor) else np


def cast(x: Array, dtype: str) -> Array:
    """A copy of `x` in another type."""
    return x.to(getattr(torch, dtype)) if isinstance(x, Tensor) else x.astype(dtype)


def reinterpret(x: Array, dtype: str) -> Array:
    """The bytes of `x` seen as another type."""
    return x.view(getattr(torch, dtype)) if isinstance(x, Tensor) else x.view(dtype)


def steps(count: int, size: int, like: Array) -> Array:
    """0, size, 2 * size ... (count,) int64, where `like` is."""
    if isinstance(like, Tensor):
        return torch.arange(0, count * size, size, device=like.device)
    return np.arange(0, count * size, size)


def histogram(index: Array, bins: int) -> Array:
    """(bins,) int64: how often each of 0..bins-1 occurs in `index`, int64 of any shape."""
    if isinstance(index, Tensor):  # torch.bincount would wait for the device to learn the largest index
        return index.new_zeros(bins).index_add_(0, index.flatten(), index.new_ones(1).expand(index.numel()))
    return np.bincount(index.ravel(), minlength=bins)


def lookup(table: Array, index: Array) -> Array:
    """`table` (K,) at `index` int64 of any shape."""
    return table[index] if isinstance(table, Tensor) else table.take(index)
