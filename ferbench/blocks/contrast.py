"""Contrast between two views of the same images."""

import torch
from torch import Tensor

from ferbench.blocks.precision import full_precision

FAR_BELOW = -1e9  # of a similarity that is left out: finite, so that rows without any other stay finite too


def nt_xent(first: Tensor, second: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """NT-Xent over the pairs that a mask names (SimCLR, Chen et al., ICML 2020, Eq. 1).

    `first` and `second` (B, D) float32 are unit vectors of two views of the same images; `mask` (B,) float is 1 for
    images that take part and 0 for all others, as anchors and as negatives alike. The result, a scalar, and its
    gradient are those of the loss on the masked rows alone: the mean over both views of the pairs in the mask, and 0
    where there are fewer than two pairs.
    """
    features = torch.cat([first, second])
    taking_part = torch.cat([mask, mask])
    with full_precision(features.device):  # bf16 products, divided by 0.07, are wrong by more than the loss
        similarity = features @ features.T / temperature
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    others = similarity.masked_fill(itself | (taking_part == 0), FAR_BELOW)
    positive = (first * second).sum(-1).repeat(2) / temperature
    per_anchor = (others.logsumexp(-1) - positive) * taking_part
    return per_anchor.sum() / taking_part.sum().clamp_min(1)
