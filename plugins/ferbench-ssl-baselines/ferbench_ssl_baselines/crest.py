"""CReST and CReST+."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import DistributionAlignment, ranks_in_class
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage, StageContext


class CReST(Method):
    """CReST (Wei et al., CVPR 2021, arXiv 2102.09559): class-rebalancing self-training, around FixMatch.

    After each generation a new net starts from a larger labeled set: with labeled counts N_1 >= ... >= N_L the surest
    mu_l = (N_{L+1-l} / N_1)^alpha of the pool that is predicted l are added, all of the rarest class and fewest of the
    most frequent. Unlabeled batches stand for what is added, weighted so that the mean is that of the larger set.
    CReST+ aligns predictions to p(y)^t, normalised, t = 1 - (1 - t_min) g / G in generation g = 0 to G.
    """

    class Config(MethodConfig):
        """CReST's options, and FixMatch's."""

        generations: int = Field(6, ge=2, description="nets, one after another; they share the steps")
        power: float = Field(1 / 3, ge=0, description="alpha of the sampling rates; 0 adds the whole pool")
        least_power: float | None = Field(None, ge=0, le=1, description="t_min of CReST+; None does not align")
        align_decay: float = Field(0.99, ge=0, lt=1, description="EMA of the mean prediction, for alignment")
        threshold: float = Field(0.95, ge=0, le=1, description="pseudo-label confidence tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="lambda_u")

    config: Config
    variants: ClassVar = {"described": {}, "plus": {"least_power": 0.5}}
    requires = frozenset({"pool_index"})
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})
    added: Tensor  # (N,) float32, 1 for images of the pool in the labeled set
    label: Tensor  # (N,) int64, their pseudo-labels

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.align = DistributionAlignment(info, self.config.align_decay, self.mean)
        self.register_buffer("added", torch.zeros(info.n_unlabeled or 1))
        self.register_buffer("label", torch.zeros(info.n_unlabeled or 1, dtype=torch.int64))

    def stages(self) -> Sequence[Stage]:
        return [Stage(f"generation{g}", self.loss, self.views, fresh=g > 0) for g in range(self.config.generations)]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        counts, generation = torch.tensor(self.info.class_counts), int(stage.name.removeprefix("generation"))
        if generation:
            confidence = torch.zeros_like(self.added)
            for part in context.predict("unlabeled"):
                confidence[part.index], self.label[part.index] = part.logits.softmax(-1).max(-1)
            order, rates = counts.argsort(descending=True, stable=True), torch.empty(len(counts))
            rates[order] = (counts[order.flip(0)] / counts.max()) ** self.config.power
            room = (torch.bincount(self.label, minlength=len(counts)) * rates.to(self.added.device)).floor()
            self.added.copy_(ranks_in_class(confidence, self.label, len(counts)) < room[self.label])
        if self.config.least_power is not None:
            power = 1 - (1 - self.config.least_power) * generation / (self.config.generations - 1)
            self.align.prior.copy_(counts**power / (counts**power).sum())
            self.align.running.fill_(1 / len(counts))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy on weak views of the larger labeled set
        index, n_labeled = batch.unlabeled.index, self.info.n_labeled
        added = (F.cross_entropy(unlabeled.weak.logits, self.label[index], reduction="none") * self.added[index]).mean()
        supervised = n_labeled * F.cross_entropy(labeled.weak.logits, batch.labels) + len(self.added) * added
        supervised = supervised / (n_labeled + self.added.sum())
        # FixMatch, in CReST+ with aligned predictions
        prediction = unlabeled.weak.probabilities.detach()
        confidence, pseudo_label = (prediction if self.config.least_power is None else self.align(prediction)).max(-1)
        mask = (confidence >= self.config.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # What trains, by FixMatch or as a part of the labeled set
        shown = {"pseudo_label": torch.where(mask > 0, pseudo_label, self.label[index])}
        shown["mask"] = torch.maximum(mask, self.added[index])
        total = supervised + self.config.unlabeled_weight * consistency
        return Losses(total, **shown, supervised=supervised, unlabeled=consistency)
