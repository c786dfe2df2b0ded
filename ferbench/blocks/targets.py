"""Labels as distributions over the classes."""

import torch
from torch import Tensor


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Return labels (B,) int64 as one-hot rows (B, C) float32; F.one_hot would wait for the device."""
    return (labels.unsqueeze(1) == torch.arange(n_classes, device=labels.device)).float()


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Sharpen distributions (B, C) towards their largest class (MixMatch, Berthelot et al., NeurIPS 2019, Eq. 7).

    Sharpen(p, T)_i = p_i^(1/T) / sum_j p_j^(1/T), which is the softmax of the logits divided by T.
    Below T = 0.05 the powers of many classes' probabilities may all be 0 in single precision.
    """
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(-1, keepdim=True)
