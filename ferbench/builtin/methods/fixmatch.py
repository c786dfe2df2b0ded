"""FixMatch, with distribution alignment as an option."""

import torch.nn.functional as F
from pydantic import Field
from torch import nn

from ferbench.blocks import DistributionAlignment
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class FixMatch(Method):
    """FixMatch (Sohn et al., NeurIPS 2020, Alg. 1); weak views of unlabeled images do not change BatchNorm."""

    class Config(MethodConfig):
        """FixMatch's options."""

        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label, tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_u")
        align: bool = Field(False, description="scale predictions to the class proportions of the labeled set")
        align_decay: float = Field(0.99, ge=0, lt=1, description="decay of the mean prediction's EMA, for alignment")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        self.align = DistributionAlignment(info, c.align_decay, self.mean) if c.align else nn.Identity()

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy on labeled images (Eq. 3)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Pseudo-labels of weak views (line 4), masked by their confidence
        confidence, pseudo_label = self.align(unlabeled.weak.probabilities).max(-1)
        mask = (confidence >= self.config.threshold).float()
        # Cross-entropy of strong views against them (Eq. 4)
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # Total (line 7)
        total = supervised + self.config.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)
