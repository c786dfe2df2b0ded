"""Loss terms and statistics that several papers share; static shapes, and nothing waits for the device."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ferbench.contract.batch import PoolPredictions

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
    with _full_precision(features.device):  # bf16 products, divided by 0.07, are wrong by more than the loss
        similarity = features @ features.T / temperature
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    others = similarity.masked_fill(itself | (taking_part == 0), FAR_BELOW)
    positive = (first * second).sum(-1).repeat(2) / temperature
    per_anchor = (others.logsumexp(-1) - positive) * taking_part
    return per_anchor.sum() / taking_part.sum().clamp_min(1)


def class_confidence(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How sure a net is of each class where it is right.

    Logits (N, C) and labels (N,) int64 give the mean confidence, in 0..1, of the images of each class that are
    predicted correctly (C,), 0 for a class without any, and their number (C,), both of the logits' dtype.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    right = ((labels.unsqueeze(1) == classes) & (predicted == labels).unsqueeze(1)).to(logits.dtype)  # (N, C)
    counts = right.sum(0)
    return (right * confidence.unsqueeze(1)).sum(0) / counts.clamp_min(1), counts


def confidence_margin(labeled: PoolPredictions, epoch: int, *, floor: float, decay: float) -> Tensor:
    """Ada-CM's margin of each class after an epoch (Li et al., CVPR 2022), which LEAF uses too.

    T_c = max(floor, m_c * decay / (1 + exp(-epoch))), (C,) float32, with `class_confidence`'s m_c over the labeled
    images; epochs count from 1. A class without a correct image has the floor.
    """
    confidence, _ = class_confidence(labeled.logits, labeled.labels)
    return (confidence * decay / (1 + math.exp(-epoch))).clamp_min(floor)


def align(prediction: Tensor, mean: Tensor, running: Tensor, prior: Tensor, decay: float) -> Tensor:
    """Distribution alignment (Berthelot et al., ReMixMatch, ICLR 2020): predictions (B, C) times prior / running mean.

    `mean` (C,) is that of this step's predictions, which `running` (C,) takes in place with weight 1 - decay; `prior`
    (C,) are the class proportions of the labels. Rows of the result (B, C) sum to 1.
    """
    running.lerp_(mean, 1 - decay)
    scaled = prediction * (prior / running)
    return scaled / scaled.sum(-1, keepdim=True)


def ranks(values: Tensor) -> Tensor:
    """The place of each value in its row, from 0 for the largest; of equals the first comes first. (B, C) to (B, C).

    By comparisons, since sorting, gathering and cumulative sums wait for a GPU in deterministic mode.
    """
    mine, other = values.unsqueeze(2), values.unsqueeze(1)
    before = torch.ones(values.shape[1:] * 2, dtype=torch.bool, device=values.device).tril(-1)
    return ((other > mine) | ((other == mine) & before)).sum(-1)


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, L, D) float at positions (B, K) int64 to (B, K, D).

    As a product with rows that hold a single 1, since the gradient of a gather waits for a GPU in deterministic mode.
    """
    chosen = index.unsqueeze(-1) == torch.arange(tokens.shape[1], device=tokens.device)  # (B, K, L)
    with _full_precision(tokens.device):
        return chosen.to(tokens.dtype) @ tokens


@torch.no_grad()
def decay_state(module: nn.Module, rate: Tensor) -> None:
    """Multiply all floating-point state by 1 - rate (a scalar tensor), BatchNorm's running statistics included.

    Not weight decay, which leaves statistics alone, but what the released code of Ada-CM and LEAF does at each step.
    """
    state = [value for value in module.state_dict().values() if value.is_floating_point()]
    torch._foreach_mul_(state, 1 - rate)


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    if not torch.amp.is_autocast_available(device.type):  # meta tensors
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
