"""DTM-like (reconstruction): FixMatch under a dynamic threshold, on face-recognition images."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ferbench.blocks import DistributionAlignment, DynamicThresholds, LearningStatus, UnlabeledConfidence
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import EpochContext, Stage
from ferbench_dtm.thresholds import ClassConfidence, LabeledConfidence

SCHEDULES = {
    "class-confidence": ClassConfidence,
    "labeled-confidence": LabeledConfidence,
    "unlabeled-confidence": UnlabeledConfidence,
}


class Dtm(Method):
    """DTM-like (reconstruction); not the authors' method.

    Of DTM (Yu et al., CVPR Workshops 2023, arXiv 2303.08617) its idea is public: face-recognition images are the
    unlabeled set, and a dynamic threshold adapts to the state of the model so that their pseudo-labels are used fully.
    Its formula, losses and numbers are not. This is FixMatch with thresholds per class, and balanced sampling of
    labeled images.
    """

    class Config(MethodConfig):
        """The reconstruction's options; none is the authors'."""

        schedule: Literal["class-confidence", "labeled-confidence", "unlabeled-confidence", "learning-status"] = Field(
            "class-confidence",
            description="what thresholds follow: confidence and how far each class is learned; the labeled images; "
            "FreeMatch; FlexMatch",
        )
        ceiling: float = Field(0.95, gt=0, le=1, description="highest threshold")
        momentum: float = Field(0.99, ge=0, lt=1, description="of the running confidences, per step")
        unlabeled_weight: float = Field(1.0, ge=0, description="of the cross-entropy on strong views")
        balanced: bool = Field(True, description="draw labeled images with equal probability of each class")
        align: bool = Field(
            True,
            description="scale predictions to the class proportions of the labeled set; those of the pool are others",
        )
        align_momentum: float = Field(0.99, ge=0, lt=1, description="of the mean prediction, for alignment")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    thresholds: DynamicThresholds

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"pool_index"} if self.config.schedule == "learning-status" else ())

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        self.align = DistributionAlignment(info, c.align_momentum, self.mean) if c.align else nn.Identity()
        if c.schedule == "learning-status":
            self.thresholds = LearningStatus(info.n_classes, c.ceiling, c.momentum, pool=info.n_unlabeled or 1)
        else:
            self.thresholds = SCHEDULES[c.schedule](info.n_classes, c.ceiling, c.momentum)

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, sampler="balanced" if self.config.balanced else "uniform")]

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        # Predictions of weak views, from which the thresholds learn first
        prediction = self.align(unlabeled.weak.probabilities)
        self.thresholds.observe(self.gather(prediction), self.gather(batch.unlabeled.index))
        # Pseudo-labels that reach the threshold of their class
        pseudo_label, mask = self.thresholds(prediction)
        # Cross-entropy on labeled images, and of strong views against pseudo-labels (FixMatch, Eqs. 3 and 4)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        total = supervised + self.config.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        if self.config.schedule == "labeled-confidence":
            self.thresholds.end_epoch(context.predict("labeled"), context.epoch)
        return {"threshold": self.thresholds.threshold}
