"""Weights that rise during a run; scalar tensors like `batch.progress`."""

import torch
from torch import Tensor


def linear_ramp(progress: Tensor, end: float, begin: float = 0.0) -> Tensor:
    """Return 0 until `begin`, 1 from `end` on, and a linear ramp between; all are fractions of the run in 0..1."""
    return ((progress - begin) / max(end - begin, 1e-9)).clamp(0, 1)


def gaussian_ramp(progress: Tensor, end: float) -> Tensor:
    """exp(-5 (1 - t)^2), where t rises from 0 to 1 at the fraction `end` of the run (Laine and Aila, ICLR 2017)."""
    return torch.exp(-5 * (1 - linear_ramp(progress, end)).square())
