"""FaceMix (Song et al., arXiv 2410.17622): Mixup in which real faces have more weight if their boxes overlap less."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 1e-9  # smallest area as a divisor


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union, (B,) in 0..1, of boxes (B, 4) float: x0, y0, x1, y1 in pixels.

    Ends are exclusive, so a box covers (x1 - x0) (y1 - y0) pixels; for two empty boxes it is 0.
    """
    start, end = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    shared = (end - start).clamp_min(0).prod(-1)
    areas = [(box[:, 2:] - box[:, :2]).clamp_min(0).prod(-1) for box in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp_min(LEAST)


def mix(values: Tensor, share: Tensor) -> Tensor:
    """Mix a batch (B, ...) float with its flip, row i with row B - 1 - i; `share`, a scalar in 0..1, weights row i."""
    return share * values + (1 - share) * values.flip(0)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, share: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy (B,) of mixed images: logits (B, C) with labels (B,) int64, mixed alike and smoothed."""
    classes = torch.arange(logits.shape[1], device=labels.device)
    target = mix((labels.unsqueeze(1) == classes).to(logits.dtype), share)
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)


def facemix_loss(mixed: Tensor, real: Tensor, overlap: Tensor) -> Tensor:
    """Return FaceMix's loss, a scalar: mean over i of mixed_i + (1 - overlap_i) (real_i + real_(B-1-i)).

    `mixed` and `real` (B,) float are the losses of the mixed and of the real images; `overlap` (B,) in 0..1 is the IoU
    of the two mixed faces.
    """
    return (mixed + (1 - overlap) * (real + real.flip(0))).mean()
