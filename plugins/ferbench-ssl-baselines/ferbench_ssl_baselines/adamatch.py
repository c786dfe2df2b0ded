"""AdaMatch."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field

from ferbench.blocks import RecentMean, aligned, one_hot
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class AdaMatch(Method):
    """AdaMatch (Berthelot et al., ICLR 2022): FixMatch whose threshold and class proportions follow the labeled images.

        Z' and Z_U = f({X, U}), Z'' = f(X), Z = lambda Z' + (1 - lambda) Z'', lambda uniform in 0..1 for each logit
        (random logit interpolation; X and U have a weak and a strong view of each image)
        Y~ = Normalize(softmax(Z_U,weak) E[softmax(Z_weak)] / E[softmax(Z_U,weak)])        (distribution alignment)
        c = tau mean of max softmax(Z_weak), mask = 1[max Y~ >= c]                   (relative confidence threshold)
        L = H(Y, Z_weak) + H(Y, Z_strong) + mu(t) mean of mask H(Y~, Z_U,strong), Y~ constant
        mu(t) = 1/2 - cos(min(pi, 2 pi t)) / 2, t the fraction of the run that is done

    E is over the last 128 batches. Z'' does not change BatchNorm's running statistics. `released` follows the authors'
    code: the most likely class is the target, and the labeled terms have weight 1/2.
    """

    class Config(MethodConfig):
        """AdaMatch's options."""

        threshold: float = Field(0.9, ge=0, description="tau, as a share of the mean confidence on labeled images")
        labeled_weight: float = Field(1.0, gt=0, description="weight of the terms of both labeled views")
        hard_labels: bool = Field(False, description="use the most likely class as the target, not the distribution")

    config: Config
    runs_eagerly = "draws random numbers in the loss"
    variants: ClassVar = {"described": {}, "released": {"labeled_weight": 0.5, "hard_labels": True}}
    joint_forward = True
    views = Views(labeled={"weak": weak(), "strong": strong()}, unlabeled={"weak": weak(), "strong": strong()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.labeled_mean, self.unlabeled_mean = (RecentMean(info.n_classes, 128) for _ in range(2))

    def loss(self, batch: Batch) -> Losses:
        c, own = self.config, batch.labeled.images
        labeled, unlabeled = self.forward_views(batch)
        # Random logit interpolation
        together = torch.cat([labeled.weak.logits, labeled.strong.logits])
        with self.probing():
            alone = self.forward_images(torch.cat([own["weak"], own["strong"]])).logits
        weak_logits, strong_logits = alone.lerp(together, self.uniform(together, together.shape[1])).chunk(2)
        supervised = F.cross_entropy(weak_logits, batch.labels) + F.cross_entropy(strong_logits, batch.labels)
        # Distribution alignment
        known, prediction = weak_logits.detach().softmax(-1), unlabeled.weak.probabilities.detach()
        wanted, found = self.labeled_mean(self.mean(known.mean(0))), self.unlabeled_mean(self.mean(prediction.mean(0)))
        target = aligned(prediction, wanted, found)
        # Relative confidence threshold
        confidence, pseudo_label = target.max(-1)
        mask = (confidence >= c.threshold * self.mean(known.max(-1).values.mean())).float()
        # Cross-entropy of strong views with the confident targets
        target = one_hot(pseudo_label, self.info.n_classes) if c.hard_labels else target
        consistency = (F.cross_entropy(unlabeled.strong.logits, target, reduction="none") * mask).mean()
        mu = 0.5 - torch.cos((2 * math.pi * batch.progress).clamp_max(math.pi)) / 2
        total = c.labeled_weight * supervised + mu * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)
