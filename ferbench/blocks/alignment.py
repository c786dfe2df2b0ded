"""Distribution alignment."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ferbench.contract.batch import MethodInfo


class DistributionAlignment(nn.Module):
    """Scales predictions to the class proportions of the labels (Berthelot et al., ReMixMatch, ICLR 2020, Section 3.1).

    q = normalize(q * p(y) / mean of q) maps predictions (B, C) float, whose rows sum to 1, to the same shape. p(y) are
    the class proportions of the labels. The mean is an EMA with `decay`: it starts uniform and is updated with each
    batch before use. `mean_over_processes` is the method's `mean`.
    """

    running: Tensor  # (C,) float32, the EMA of the mean prediction
    prior: Tensor  # (C,) float32, the proportions of the labels

    def __init__(self, info: MethodInfo, decay: float, mean_over_processes: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.decay, self.mean_over_processes = decay, mean_over_processes
        self.register_buffer("running", torch.full((info.n_classes,), 1 / info.n_classes))
        self.register_buffer("prior", torch.tensor(info.class_counts) / info.n_labeled)

    def forward(self, prediction: Tensor) -> Tensor:
        self.running.lerp_(self.mean_over_processes(prediction.mean(0)), 1 - self.decay)
        return aligned(prediction, self.prior, self.running)


def aligned(prediction: Tensor, wanted: Tensor | float, found: Tensor) -> Tensor:
    """Scale predictions (B, C) by `wanted` / `found` (C,), the proportions of the classes; the rows sum to 1.

    `wanted=1` means equal proportions.
    """
    scaled = prediction * (wanted / found.clamp_min(1e-6))
    return scaled / scaled.sum(-1, keepdim=True)
