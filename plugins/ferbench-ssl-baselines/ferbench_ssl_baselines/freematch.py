"""FreeMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import UnlabeledConfidence, one_hot
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class FreeMatch(Method):
    """FreeMatch (Wang et al., ICLR 2023, arXiv 2205.07246): thresholds that follow the net, and fair predictions.

    tau(c) = tau p(c) / max_k p(k) (Eq. 7): tau is the EMA of the mean confidence (Eq. 5), p that of the mean prediction
    (Eq. 6), both of weak views, starting at 1 / C. Strong views train if weak ones reach the threshold of their class
    (Eq. 8). The fairness loss is L_f = -H(norm(p / h), norm(p_s / h_s)) (Eqs. 9 to 11): p_s is the mean prediction of
    these strong views, and h and h_s are the histograms of predicted classes. L = L_s + w_u L_u + w_f L_f (Eq. 12).
    """

    class Config(MethodConfig):
        """FreeMatch's options."""

        momentum: float = Field(0.999, ge=0, lt=1, description="momentum of all three EMAs, lambda, per step")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, w_u")
        fairness_weight: float = Field(
            0.05, ge=0, description="weight of the fairness loss, w_f (0.01 for the paper's smallest label budgets)"
        )

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    histogram: Tensor  # (C,) float32, h

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.thresholds = UnlabeledConfidence(info.n_classes, ceiling=1.0, momentum=self.config.momentum)
        self.register_buffer("histogram", torch.full((info.n_classes,), 1 / info.n_classes))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Self-adaptive thresholds, updated with this step's weak views (Eqs. 5 to 7)
        prediction = unlabeled.weak.probabilities
        self._observe(self.gather(prediction), batch.unlabeled.index)
        pseudo_label, mask = self.thresholds(prediction)
        # Cross-entropy of strong views, if weak ones reach the thresholds (Eq. 8)
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # Self-adaptive fairness (Eqs. 9 to 11)
        fairness = self._fairness(unlabeled.strong.probabilities, mask)
        # Total (Eq. 12)
        total = supervised + c.unlabeled_weight * consistency + c.fairness_weight * fairness
        terms = {"supervised": supervised, "unlabeled": consistency, "fairness": fairness}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms, threshold=self.thresholds.threshold.mean())

    def _observe(self, prediction: Tensor, index: Tensor) -> None:
        self.thresholds.observe(prediction, index)
        predicted = one_hot(prediction.argmax(-1), prediction.shape[1])
        self.histogram.lerp_(predicted.mean(0), 1 - self.config.momentum)

    def _fairness(self, strong: Tensor, mask: Tensor) -> Tensor:
        """Return L_f for the strong predictions (B, C) that train; classes that none of them predicts are omitted."""
        counts = (one_hot(strong.argmax(-1), strong.shape[1]) * mask.unsqueeze(1)).sum(0)
        batch = (strong * mask.unsqueeze(1)).sum(0) / counts.clamp_min(1) * (counts > 0)
        share = batch / batch.sum().clamp_min(1e-12)
        target = self.thresholds.prediction / self.histogram.clamp_min(1e-12)
        target = target / target.sum()
        return (target * torch.where(counts > 0, share, 1.0).log()).sum()
