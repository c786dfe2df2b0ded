"""Order and choice by comparisons: sorting, gathering and cumulative sums wait for a GPU in deterministic mode."""

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
