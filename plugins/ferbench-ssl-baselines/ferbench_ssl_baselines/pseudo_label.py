"""Pseudo-Label."""

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field

from ferbench.blocks import linear_ramp
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig


class PseudoLabel(Method):
    """Pseudo-Label (Lee, ICML workshops 2013): the net's prediction for an image serves as its label.

        y'(x) = argmax_c f_c(x)                                                         (Eq. 14)
        L = mean over labeled of H(y, f(x)) + alpha(t) mean over unlabeled of H(y', f(x))   (Eq. 15)
        alpha(t) = 0 until T1, alpha_f (t - T1) / (T2 - T1) until T2, then alpha_f           (Eq. 16)

    H is the cross-entropy of a softmax; the paper's nets have sigmoid outputs. The paper uses all images. The variant
    `thresholded` is the row that later papers compare with (Oliver et al., NeurIPS 2018).
    """

    class Config(MethodConfig):
        """Pseudo-Label's options."""

        unlabeled_weight: float = Field(3.0, ge=0, description="final weight of pseudo-labels, alpha_f")
        ramp_begin: float = Field(0.1, ge=0, le=1, description="start of the ramp, T1, as a share of the run")
        ramp_end: float = Field(0.6, ge=0, le=1, description="end of the ramp, T2, as a share of the run")
        threshold: float = Field(0.0, ge=0, le=1, description="smallest confidence of a pseudo-label; 0 in the paper")

    config: Config
    variants: ClassVar = {
        "described": {},
        "thresholded": {"unlabeled_weight": 1.0, "ramp_begin": 0.0, "ramp_end": 0.4, "threshold": 0.95},
    }
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Pseudo-labels (Eq. 14)
        confidence, pseudo_label = unlabeled.weak.probabilities.detach().max(-1)
        mask = (confidence >= c.threshold).float()
        # They train the predictions from which they come (Eq. 15), with rising weight (Eq. 16)
        pseudo = (F.cross_entropy(unlabeled.weak.logits, pseudo_label, reduction="none") * mask).mean()
        alpha = c.unlabeled_weight * linear_ramp(batch.progress, c.ramp_end, c.ramp_begin)
        total = supervised + alpha * pseudo
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=pseudo)
