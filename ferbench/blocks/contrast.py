"""Contrastive learning: projection head, similarities, and the loss for two views of the same images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.blocks.precision import full_precision

FAR_BELOW = -1e9  # replaces an excluded similarity; finite, so that rows with only excluded ones stay finite


class Projection(nn.Module):
    """The projection head of contrastive losses (SimCLR, Chen et al., ICML 2020): two layers with a ReLU between.

    It maps features (B, D) to unit vectors (B, `size`) float32.
    """

    def __init__(self, feature_size: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(feature_size, feature_size), nn.ReLU(), nn.Linear(feature_size, size))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.layers(features).float())


def similarity(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return inner products of vectors (A, D) and (B, D) float32, divided by the temperature, (A, B): softmax logits.

    It uses full precision, because errors of bf16 products, divided by 0.07, are larger than the loss.
    """
    with full_precision(first.device):
        return first @ second.T / temperature


def nt_xent(first: Tensor, second: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent, a scalar, over the pairs selected by a mask (SimCLR, Chen et al., ICML 2020, Eq. 1).

    `first` and `second` (B, D) float32 are unit vectors of two views of the same images. `mask` (B,) float is 1 for
    images that take part, both as anchors and as negatives, and 0 for the others. Loss and gradient are those of the
    selected rows only: the mean over both views of the selected pairs, and 0 if there are fewer than two pairs.
    """
    features = torch.cat([first, second])
    taking_part = torch.cat([mask, mask])
    products = similarity(features, features, temperature)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    others = products.masked_fill(itself | (taking_part == 0), FAR_BELOW)
    positive = (first * second).sum(-1).repeat(2) / temperature
    per_anchor = (others.logsumexp(-1) - positive) * taking_part
    return per_anchor.sum() / taking_part.sum().clamp_min(1)
