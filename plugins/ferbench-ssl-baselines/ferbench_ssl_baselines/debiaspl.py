"""DebiasPL."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class DebiasPL(Method):
    """DebiasPL (Wang et al., CVPR 2022, arXiv 2201.01490): pseudo-labels without the net's bias to some classes.

    Pseudo-labels and mask come from the softmax of f~ = f - lambda log p^ (Eq. 3); f are the logits of weak views.
    p^ = m p^ + (1 - m) mean of the softmax of f over the batch (Eq. 4); it starts at 1 / C. Strong views are trained
    with an adaptive margin: cross-entropy of z + lambda log p^ (Eq. 5) with the new p^. L = L_s + lambda_u L_u.
    """

    class Config(MethodConfig):
        """The options of DebiasPL, with defaults from the authors' scripts, and of FixMatch."""

        debias: float = Field(0.4, ge=0, description="strength of both corrections, lambda")
        momentum: float = Field(0.999, ge=0, lt=1, description="momentum of the mean prediction, m, per step")
        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label, tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_u")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    mean_prediction: Tensor  # (C,) float32, p^

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("mean_prediction", torch.full((info.n_classes,), 1 / info.n_classes))

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Debiased pseudo-labels of weak views (Eq. 3)
        debiased = unlabeled.weak.logits - c.debias * self.mean_prediction.log()
        confidence, pseudo_label = debiased.softmax(-1).max(-1)
        mask = (confidence >= c.threshold).float()
        # Update the mean of the net's uncorrected predictions (Eq. 4)
        self.mean_prediction.lerp_(self.mean(unlabeled.weak.probabilities.mean(0)), 1 - c.momentum)
        # Cross-entropy of strong views with a wider margin for rarely predicted classes (Eq. 5)
        with_margin = unlabeled.strong.logits + c.debias * self.mean_prediction.log()
        consistency = (F.cross_entropy(with_margin, pseudo_label, reduction="none") * mask).mean()
        total = supervised + c.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)
