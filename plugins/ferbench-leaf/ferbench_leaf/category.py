"""LEAF's category level, for any method: `from ferbench_leaf.category import ambiguous_loss`."""

import torch
import torch.nn.functional as F
from torch import Tensor

FAR_BELOW = -1e9
STEEPNESS = 50.0


def ambiguous_loss(
    logits: Tensor, reference: Tensor, *, positives: int = 3, mass: float = 0.9, off_by_one: bool = False
) -> tuple[Tensor, Tensor]:
    """Loss and weight of each image under an ambiguous pseudo-label (LEAF; from Fuzzy Positive Learning, CVPR 2023).

    The softmax of `reference` (B, C), usually the mean logits of two weak views, orders the classes. The positive group
    is the fewest first classes that hold `mass` of the probability, `positives` at most and at least one class fewer
    than there are; the rest is negative. With logits z (B, C) of the strong view,
    loss = log(1 + sum over positive a and negative b of exp(z_b - z_a)), (B,). The weight (B,), in 0..1 and concave in
    the distance of the first negative probability to the mean of all up to it, is near 0 where the groups hardly
    differ. `off_by_one` counts the mass of one class more than is positive, as the released code does. No gradient
    reaches `reference`.
    """
    n_classes = logits.shape[1]
    prediction, order = reference.detach().softmax(-1).sort(dim=-1, descending=True, stable=True)
    held = prediction.cumsum(-1)
    most = min(positives, n_classes - 1)
    first = int(off_by_one)
    count = 1 + (held[:, first : first + most - 1] < mass).sum(-1, keepdim=True)

    is_positive = torch.arange(n_classes, device=logits.device) < count
    ordered = logits.gather(-1, order)
    negative = ordered.masked_fill(is_positive, FAR_BELOW).logsumexp(-1)
    positive = (-ordered).masked_fill(~is_positive, FAR_BELOW).logsumexp(-1)
    loss = F.softplus(negative + positive)

    mean = held.gather(-1, count) / (count + 1)
    distance = mean - prediction.gather(-1, count)
    weight = (STEEPNESS * distance).log1p() / (STEEPNESS * mean).log1p()
    return loss, weight.clamp_max(1).squeeze(-1)
