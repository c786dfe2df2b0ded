"""Mixing of images and of their labels."""

import torch
from torch import Tensor

from ferbench.contract.method import Method


def mixup(method: Method, images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Apply MixMatch's MixUp (Berthelot et al., NeurIPS 2019, Eqs. 8 to 11) to images (B, ...) and targets (B, C).

    Each row has its own share, max(s, 1 - s) with s from Beta(alpha, alpha), so that it stays the larger part. Its
    partner is a row of any process.
    """
    share = method.beta(images, alpha, alpha)
    share, partner = torch.maximum(share, 1 - share), method.permutation(images)

    def mixed(own: Tensor) -> Tensor:
        weight = share.view(-1, *[1] * (own.ndim - 1))
        return weight * own + (1 - weight) * method.gather(own)[partner]

    return mixed(images), mixed(targets)
