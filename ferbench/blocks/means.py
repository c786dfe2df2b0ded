"""Means of selected values: those in a mask, or those of the last batches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def masked_mean(values: Tensor, mask: Tensor, mean_over_processes: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean of the values (B,) whose mask (B,) is 1, a scalar; 0 if there are none.

    `mean_over_processes` is the method's `mean`; averaged over processes, the result is the mean over all their values.
    """
    count = mean_over_processes(mask.sum())
    return (values * mask).sum() / torch.where(count > 0, count, 1)


class RecentMean(nn.Module):
    """The mean of the last `window` distributions (C,), all uniform at first; adding one returns the new mean (C,)."""

    recent: Tensor  # (window, C) float32

    def __init__(self, n_classes: int, window: int) -> None:
        super().__init__()
        self.register_buffer("recent", torch.full((window, n_classes), 1 / n_classes))

    def forward(self, distribution: Tensor) -> Tensor:
        self.recent.copy_(torch.cat([self.recent[1:], distribution.detach().unsqueeze(0)]))
        return self.recent.mean(0)
