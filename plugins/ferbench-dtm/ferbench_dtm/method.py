"""DTM: the method in the public code of that name, and the reconstruction in ferbench 0.1."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ferbench.blocks import DistributionAlignment, DynamicThresholds, LearningStatus, ReleasedLoop, UnlabeledConfidence
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, Views, strong, weak
from ferbench.contract.head import Head, LinearHead
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import EpochContext, Stage
from ferbench_dtm.head import UnitHead
from ferbench_dtm.thresholds import ClassConfidence, LabeledAverage, LabeledConfidence

SCHEDULES = {
    "class-confidence": ClassConfidence,
    "labeled-confidence": LabeledConfidence,
    "unlabeled-confidence": UnlabeledConfidence,
}
LABELED = ("labeled-average", "labeled-confidence")
"""Schedules that learn from the labeled images after each epoch."""

FROM_CODE = {
    "schedule": "labeled-average",
    "momentum": 0.9,
    "weak_views": 2,
    "normalized": True,
    "unlabeled_weight": 0.5,
    "balanced": False,
    "align": False,
}
RELEASED = ReleasedLoop(augmented_statistics=True, separate_forwards=True, state_decay=0.02)


class Dtm(Method):
    """Pseudo-labels with a dynamic threshold for each class, for face-recognition images as unlabeled data.

    `from-code` and `released` follow the public code SSL-DTM (`f34da5c`), whose authorship is not stated. `described`
    is the reconstruction in ferbench 0.1, made without knowing that code. The text of DTM (Yu et al., CVPR Workshops
    2023, arXiv 2303.08617) was not readable. Only its idea is known: the threshold adapts to the state of the model,
    so that more of these images are used.
    """

    class Config(MethodConfig):
        """Options; the defaults are those of the reconstruction, the values of the code are in `variants`."""

        schedule: Literal[
            "class-confidence", "labeled-confidence", "unlabeled-confidence", "learning-status", "labeled-average"
        ] = Field(
            "class-confidence",
            description="what thresholds follow: class-confidence = confidence and learning of each class; "
            "labeled-confidence = the labeled images, after Ada-CM; unlabeled-confidence = FreeMatch; "
            "learning-status = FlexMatch; labeled-average = a running mean over the labeled images (public code)",
        )
        ceiling: float = Field(0.95, gt=0, le=1, description="highest threshold; unused with labeled-average")
        floor: float = Field(0.8, ge=0, le=1, description="initial and lowest threshold, with labeled-average")
        momentum: float = Field(
            0.99, ge=0, lt=1, description="momentum of running confidences, per step; with labeled-average per epoch"
        )
        weak_views: int = Field(
            1, ge=1, le=2, description="number of weak views whose mean prediction gives the pseudo-label"
        )
        normalized: bool = Field(False, description="whether the head's linear layer gets features of unit length")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy on strong views")
        balanced: bool = Field(True, description="draw labeled images of each class with equal probability")
        align: bool = Field(
            True,
            description="scale predictions to the class proportions of the labeled set, which differ from the pool's",
        )
        align_momentum: float = Field(0.99, ge=0, lt=1, description="momentum of the mean prediction, for alignment")
        released: ReleasedLoop = Field(ReleasedLoop(), description="quirks of the public code")

    config: Config
    variants: ClassVar = {
        "from-code": FROM_CODE,
        "described": {},
        "released": {**FROM_CODE, "released": RELEASED.model_dump()},
    }
    thresholds: DynamicThresholds | LabeledAverage

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.joint_forward = config.released.joint_forward
        # Weak views are not learned from, but in the public code they change BatchNorm's running statistics.
        view = weak(gradient=config.released.separate_forwards)
        self.weak_names = ["weak"] if config.weak_views == 1 else ["weak1", "weak2"]
        self.views = Views(
            labeled={"weak": weak()}, unlabeled={**dict.fromkeys(self.weak_names, view), "strong": strong()}
        )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"pool_index"} if self.config.schedule == "learning-status" else ())

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        return (UnitHead if self.config.normalized else LinearHead)(feature_size, n_classes)

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        self.align = DistributionAlignment(info, c.align_momentum, self.mean) if c.align else nn.Identity()
        if c.schedule == "learning-status":
            self.thresholds = LearningStatus(info.n_classes, c.ceiling, c.momentum, pool=info.n_unlabeled or 1)
        elif c.schedule == "labeled-average":
            self.thresholds = LabeledAverage(info.n_classes, c.floor, c.momentum)
        else:
            self.thresholds = SCHEDULES[c.schedule](info.n_classes, c.ceiling, c.momentum)

    def stages(self) -> Sequence[Stage]:
        sampler: Literal["balanced", "uniform"] = "balanced" if self.config.balanced else "uniform"
        return [Stage("train", self.loss, self.views, sampler=sampler, optimizer=self.config.released.optimizer)]

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        # Mean prediction of weak views; some thresholds learn from it first
        views = [unlabeled[name].probabilities for name in self.weak_names]
        prediction = self.align(torch.stack(views).mean(0).detach())
        self.thresholds.observe(self.gather(prediction), self.gather(batch.unlabeled.index))
        # Pseudo-labels that reach the threshold of their class
        pseudo_label, mask = self.thresholds(prediction)
        # Cross-entropy on labeled images, and of strong views against pseudo-labels (FixMatch, Eqs. 3 and 4)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        total = supervised + self.config.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)

    def after_step(self, info: StepInfo) -> None:
        self.config.released.after_step(self.net, info.batch.learning_rate)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        if self.config.schedule in LABELED:
            self.thresholds.end_epoch(self.config.released.labeled_pass(context), context.epoch)
        return {"threshold": self.thresholds.threshold}
