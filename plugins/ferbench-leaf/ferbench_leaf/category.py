"""LEAF's category level, for any method: `from ferbench_leaf.category import ambiguous_loss`."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import ranks
from ferbench.contract.method import MethodConfig

STEEPNESS = 50.0
LEAST = 1e-12  # smallest mean loss as a divisor


class CategoryOptions(MethodConfig):
    """Options of the category level."""

    ambiguous: bool = Field(True, description="use ambiguous pseudo-labels instead of cross-entropy with pseudo-labels")
    positives: int = Field(3, ge=1, description="largest number of classes in an ambiguous pseudo-label")
    mass: float = Field(0.9, ge=0, le=1, description="total probability that its classes must reach")


def category_loss(
    logits: Tensor, reference: Tensor, pseudo_label: Tensor, mask: Tensor, options: CategoryOptions,
    *, off_by_one: bool = False, batch_mask: bool = False,
) -> Tensor:  # fmt: skip
    """Return the loss of a batch of strong views, a scalar: the mean of the weighted `ambiguous_loss` times the mask.

    `logits` and `reference`, the mean weak logits, are (B, C) float, `pseudo_label` (B,) int64, `mask` (B,) float.
    `off_by_one` and `batch_mask` (see `masked_by_batch`) are quirks of the released code.
    """
    cross_entropy = F.cross_entropy(logits, pseudo_label, reduction="none")
    if not options.ambiguous:
        return (mask * cross_entropy).mean()
    positives, mass = options.positives, options.mass
    loss, weight = ambiguous_loss(logits, reference, positives=positives, mass=mass, off_by_one=off_by_one)
    return masked_by_batch(weight * loss, cross_entropy, mask) if batch_mask else (mask * weight * loss).mean()


def ambiguous_loss(
    logits: Tensor, reference: Tensor, *, positives: int = 3, mass: float = 0.9, off_by_one: bool = False
) -> tuple[Tensor, Tensor]:
    """Return loss and weight (B,) of images with ambiguous pseudo-labels (LEAF; Fuzzy Positive Learning, CVPR 2023).

    The softmax of `reference` (B, C), usually the mean logits of two weak views, orders the classes. The positive group
    is the smallest number of first classes whose probabilities reach `mass`, but at most `positives` and never all
    classes; the other classes are negative. With logits z (B, C) of the strong view,
    loss = log(1 + sum over positive a and negative b of exp(z_b - z_a)). The weight, in 0..1, is concave in the
    distance of the first negative probability from the mean of all up to it; it is near 0 if the groups hardly differ.
    `off_by_one` counts the mass of one class too many, like the released code. `reference` gets no gradient.
    """
    prediction = reference.detach().softmax(-1)
    rank = ranks(prediction)
    held = (prediction.unsqueeze(1) * (rank.unsqueeze(1) <= rank.unsqueeze(2))).sum(
        -1
    )  # mass of a class and all before it
    first, most = int(off_by_one), min(positives, logits.shape[1] - 1)
    asked = (rank >= first) & (rank < first + most - 1)
    count = 1 + (asked & (held < mass)).sum(-1, keepdim=True)

    positive = rank < count
    far_below = torch.finfo(logits.dtype).min / 4
    against = logits.masked_fill(positive, far_below).logsumexp(-1)
    loss = F.softplus(against + (-logits).masked_fill(~positive, far_below).logsumexp(-1))

    mean = (prediction * (rank <= count)).sum(-1) / (count.squeeze(-1) + 1)
    distance = mean - (prediction * (rank == count)).sum(-1)
    weight = (STEEPNESS * distance).log1p() / (STEEPNESS * mean).log1p()
    return loss, weight.clamp_max(1)


def masked_by_batch(ambiguous: Tensor, cross_entropy: Tensor, mask: Tensor) -> Tensor:
    """Return the released code's mean of weighted losses (B,), a scalar: every image counts, even if its mask is 0.

    It has the value of the mean of `cross_entropy` (B,) times the mask rate, but the scaled gradient of `ambiguous`.
    """
    balance = (cross_entropy.mean() / ambiguous.mean().clamp_min(LEAST)).detach()
    return balance * ambiguous.mean() * mask.mean()
