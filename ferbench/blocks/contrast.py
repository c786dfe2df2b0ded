"""Contrast: what is compared, and the loss of two views of the same images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.blocks.precision import full_precision

FAR_BELOW = -1e9  # of a similarity that is left out: finite, so that rows without any other stay finite too


class Projection(nn.Module):
    """The projection head of contrastive losses (SimCLR, Chen et al., ICML 2020): features (B, D) to unit vectors.

    Two layers with a ReLU between; the vectors are (B, `size`) float32.
    """

    def __init__(self, feature_size: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(feature_size, feature_size), nn.ReLU(), nn.Linear(feature_size, size))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.layers(features).float())


def similarity(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Inner products of vectors (A, D) and (B, D) float32, divided by the temperature, (A, B): logits of a softmax.

    In full precision: bf16 products, divided by 0.07, are wrong by more than the loss.
    """
    with full_precision(first.device):
        return first @ second.T / temperature


def nt_xent(first: Tensor, second: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """NT-Xent over the pairs that a mask names (SimCLR, Chen et al., ICML 2020, Eq. 1).

    `first` and `second` (B, D) float32 are unit vectors of two views of the same images; `mask` (B,) float is 1 for
    images that take part and 0 for all others, as anchors and as negatives alike. The result, a scalar, and its
    gradient are those of the loss on the masked rows alone: the mean over both views of the pairs in the mask, and 0
    where there are fewer than two pairs.
    """
    features = torch.cat([first, second])
    taking_part = torch.cat([mask, mask])
    products = similarity(features, features, temperature)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    others = products.masked_fill(itself | (taking_part == 0), FAR_BELOW)
    positive = (first * second).sum(-1).repeat(2) / temperature
    per_anchor = (others.logsumexp(-1) - positive) * taking_part
    return per_anchor.sum() / taking_part.sum().clamp_min(1)
