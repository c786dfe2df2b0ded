"""Distribution alignment."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ferbench.blocks.memory import Newest
from ferbench.contract.batch import MethodInfo


class DistributionAlignment(nn.Module):
    """Predictions scaled to the class proportions of the labels (Berthelot et al., ReMixMatch, ICLR 2020, Section 3.1).

    q = normalize(q * p(y) / mean of q): predictions (B, C) float, whose rows sum to 1, to the same. p(y) are the
    proportions of the labels, or those of `prior` (C,); the mean is an EMA with `decay` that begins uniform and has
    each batch before it is used. `mean_over_processes` is the method's `mean`.
    """

    running: Tensor  # (C,) float32, the EMA of the mean prediction
    prior: Tensor  # (C,) float32, the proportions that predictions are scaled to

    def __init__(
        self,
        info: MethodInfo,
        decay: float,
        mean_over_processes: Callable[[Tensor], Tensor],
        *,
        prior: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.decay, self.mean_over_processes = decay, mean_over_processes
        self.register_buffer("running", torch.full((info.n_classes,), 1 / info.n_classes))
        labels = torch.tensor(info.class_counts) / info.n_labeled
        self.register_buffer("prior", labels if prior is None else prior.clone())

    def forward(self, prediction: Tensor) -> Tensor:
        self.running.lerp_(self.mean_over_processes(prediction.mean(0)), 1 - self.decay)
        scaled = prediction * (self.prior / self.running)
        return scaled / scaled.sum(-1, keepdim=True)


class UniformAlignment(nn.Module):
    """Predictions scaled to equal proportions of all classes, as CoMatch and SimMatch do.

    q = normalize(q / mean of q): predictions (B, C) float, whose rows sum to 1, to the same. The mean is that of the
    last `batches` batches, this one included. `mean_over_processes` is the method's `mean`.
    """

    def __init__(self, n_classes: int, batches: int, mean_over_processes: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mean_over_processes = mean_over_processes
        self.recent = Newest(batches, n_classes)

    def forward(self, prediction: Tensor) -> Tensor:
        self.recent.push(self.mean_over_processes(prediction.mean(0, keepdim=True)))
        total = self.recent.rows.sum(0)  # rows that are still 0 change nothing but the scale
        scaled = prediction / total.clamp_min(torch.finfo(total.dtype).tiny)
        return scaled / scaled.sum(-1, keepdim=True)
