"""Order and choice.

Within a step by comparisons: sorting, gathering and cumulative sums wait for a GPU in deterministic mode.
"""

import torch
from torch import Tensor

from ferbench.blocks.precision import full_precision


def ranks(values: Tensor) -> Tensor:
    """The place of each value in its row, from 0 for the largest; of equals the first comes first. (B, C) to (B, C)."""
    mine, other = values.unsqueeze(2), values.unsqueeze(1)
    before = torch.ones(values.shape[1:] * 2, dtype=torch.bool, device=values.device).tril(-1)
    return ((other > mine) | ((other == mine) & before)).sum(-1)


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, L, D) float at positions (B, K) int64 to (B, K, D), as a product with rows that hold a single 1."""
    chosen = index.unsqueeze(-1) == torch.arange(tokens.shape[1], device=tokens.device)  # (B, K, L)
    with full_precision(tokens.device):
        return chosen.to(tokens.dtype) @ tokens


def ranks_in_class(confidence: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """The place of each image among those of its label, (N,) int64 from 0 for the largest confidence.

    Of equals the first comes first. Confidence (N,) float, labels (N,) int64. It sorts: for what is chosen from a whole
    pool between two stages, never within a step.
    """
    order = confidence.argsort(descending=True, stable=True)
    before = (labels[order].unsqueeze(1) == torch.arange(n_classes, device=labels.device)).long().cumsum(0)
    places = torch.empty_like(labels)
    places[order] = before.gather(1, labels[order].unsqueeze(1)).squeeze(1) - 1
    return places
