"""Ranking and selection.

Within a step they use comparisons, because sorting, gathering and cumulative sums wait for a GPU in deterministic mode.
"""

import torch
from torch import Tensor

from ferbench.blocks.precision import full_precision


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each value in its row, (B, C), from 0 for the largest; equal values keep their order."""
    mine, other = values.unsqueeze(2), values.unsqueeze(1)
    before = torch.ones(values.shape[1:] * 2, dtype=torch.bool, device=values.device).tril(-1)
    return ((other > mine) | ((other == mine) & before)).sum(-1)


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the tokens (B, L, D) float at positions (B, K) int64, (B, K, D), by a product with one-hot rows."""
    chosen = index.unsqueeze(-1) == torch.arange(tokens.shape[1], device=tokens.device)  # (B, K, L)
    with full_precision(tokens.device):
        return chosen.to(tokens.dtype) @ tokens


def ranks_in_class(confidence: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return the rank of each image among those with its label, (N,) int64, from 0 for the largest confidence.

    `confidence` is (N,) float, `labels` (N,) int64; equal values keep their order. It sorts, so use it to select from a
    whole pool between two stages, not within a step.
    """
    order = confidence.argsort(descending=True, stable=True)
    before = (labels[order].unsqueeze(1) == torch.arange(n_classes, device=labels.device)).long().cumsum(0)
    places = torch.empty_like(labels)
    places[order] = before.gather(1, labels[order].unsqueeze(1)).squeeze(1) - 1
    return places
