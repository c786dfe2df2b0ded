"""Predictions of a net that gets surer, for thresholds that follow it."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

C, B, POOL, STEPS = 5, 32, 60, 40
CEILING, MOMENTUM = 0.9, 0.8

Batches = list[tuple[NDArray[np.float64], NDArray[np.int64]]]


def surer_batches() -> Batches:
    """Predictions (B, C) that get surer, of class 4 never, with the places (B,) of the images in the pool."""
    rng = np.random.default_rng(0)
    made = []
    for step in range(STEPS):
        logits = rng.normal(size=(B, C)) * (0.2 + 0.15 * step)
        logits[:, 4] -= 3
        predictions = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        made.append((predictions, rng.permutation(POOL)[:B]))
    return made


def tensors(batches: Batches) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for predictions, index in batches:
        yield torch.tensor(predictions).float(), torch.tensor(index)
