"""Weights that rise over a run; scalar tensors, as `batch.progress` is."""

import torch
from torch import Tensor


def linear_ramp(progress: Tensor, end: float, begin: float = 0.0) -> Tensor:
    """0 until `begin`, 1 from `end` on, a straight line between; all are parts of the run in 0..1."""
    return ((progress - begin) / max(end - begin, 1e-9)).clamp(0, 1)


def gaussian_ramp(progress: Tensor, end: float) -> Tensor:
    """exp(-5 (1 - t)^2), t rising from 0 to 1 at `end`, a part of the run; then 1 (Laine and Aila, ICLR 2017)."""
    return torch.exp(-5 * (1 - linear_ramp(progress, end)).square())
