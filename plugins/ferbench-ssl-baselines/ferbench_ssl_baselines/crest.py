"""CReST and CReST+."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import RecentMean, aligned, ranks_in_class
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage, StageContext


class CReST(Method):
    """CReST (Wei et al., CVPR 2021, arXiv 2102.09559): class-rebalancing self-training, around FixMatch.

    After each generation a new net starts with a larger labeled set. With labeled counts N_1 >= ... >= N_L, the most
    confident share mu_l = (N_{L+1-l} / N_1)^alpha of the pool images predicted as l is added. Unlabeled batches give
    their loss, weighted like the larger set. CReST+ aligns predictions to p(y)^t, t = 1 - (1 - t_min) g / G.
    """

    class Config(MethodConfig):
        """The options of CReST and FixMatch."""

        generations: int = Field(6, ge=2, description="number of nets, trained one after another; they share the steps")
        power: float = Field(1 / 3, ge=0, description="alpha of the sampling rates; 0 adds the whole pool")
        least_power: float | None = Field(None, ge=0, le=1, description="t_min of CReST+; None for no alignment")
        align_batches: int = Field(128, ge=1, description="number of batches in the mean prediction for alignment")
        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label, tau")

    config: Config
    variants: ClassVar = {"described": {}, "plus": {"least_power": 0.5}}
    requires = frozenset({"pool_index"})
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})
    label: Tensor  # (N,) int64, labels of pool images that were added; -1 for all others
    prior: Tensor  # (C,) float32, target proportions of the alignment

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.recent = RecentMean(info.n_classes, self.config.align_batches)
        self.register_buffer("label", torch.full((info.n_unlabeled or 1,), -1))
        self.register_buffer("prior", torch.zeros(info.n_classes))

    def stages(self) -> Sequence[Stage]:
        return [Stage(f"generation{g}", self.loss, self.views, fresh=g > 0) for g in range(self.config.generations)]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        counts, generation = torch.tensor(self.info.class_counts), int(stage.name.removeprefix("generation"))
        if generation:
            confidence, label = torch.zeros_like(self.label, dtype=torch.float32), torch.zeros_like(self.label)
            for part in context.predict("unlabeled"):
                confidence[part.index], label[part.index] = part.logits.softmax(-1).max(-1)
            order, rates = counts.argsort(descending=True, stable=True), torch.empty(len(counts))
            rates[order] = (counts[order.flip(0)] / counts.max()) ** self.config.power
            room = (torch.bincount(label, minlength=len(counts)) * rates.to(label.device)).floor()
            self.label.copy_(torch.where(ranks_in_class(confidence, label, len(counts)) < room[label], label, -1))
        if self.config.least_power is not None:
            self.prior.copy_(counts ** (1 - (1 - self.config.least_power) * generation / (self.config.generations - 1)))
            self.recent.recent.fill_(1 / len(counts))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy on weak views of the larger labeled set
        label, is_added = self.label[batch.unlabeled.index].clamp_min(0), self.label[batch.unlabeled.index] >= 0
        added = (F.cross_entropy(unlabeled.weak.logits, label, reduction="none") * is_added).mean() * len(self.label)
        own = F.cross_entropy(labeled.weak.logits, batch.labels) * self.info.n_labeled
        supervised = (own + added) / (self.info.n_labeled + (self.label >= 0).sum())
        # FixMatch; in CReST+ predictions are aligned
        prediction = unlabeled.weak.probabilities.detach()
        if self.config.least_power is not None:
            prediction = aligned(prediction, self.prior, self.recent(self.mean(prediction.mean(0))))
        confidence, pseudo_label = prediction.max(-1)
        mask = (confidence >= self.config.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        shown = {"pseudo_label": torch.where(mask > 0, pseudo_label, label), "mask": mask.maximum(is_added.float())}
        return Losses(supervised + consistency, **shown, supervised=supervised, unlabeled=consistency)
