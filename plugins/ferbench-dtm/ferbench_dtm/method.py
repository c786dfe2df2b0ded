"""DTM-like (reconstruction): FixMatch under a dynamic threshold, on face-recognition images."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import EpochContext, Method, MethodConfig, Stage
from ferbench.functional import align
from ferbench_dtm.thresholds import ClassConfidence, LabeledConfidence, LearningStatus, Schedule, UnlabeledConfidence


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
    variants: ClassVar = {"described": {}}
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})
    schedule: Schedule
    mean_prediction: Tensor  # (C,)
    prior: Tensor  # (C,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"pool_index"} if self.config.schedule == "learning-status" else ())

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        arguments = info.n_classes, c.ceiling, c.momentum
        if c.schedule == "learning-status":
            self.schedule = LearningStatus(*arguments, pool=info.n_unlabeled or 1)
        else:
            kinds = {
                "class-confidence": ClassConfidence,
                "labeled-confidence": LabeledConfidence,
                "unlabeled-confidence": UnlabeledConfidence,
            }
            self.schedule = kinds[c.schedule](*arguments)
        self.register_buffer("mean_prediction", torch.full((info.n_classes,), 1 / info.n_classes))
        self.register_buffer("prior", torch.tensor(info.class_counts) / info.n_labeled)

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, sampler="balanced" if self.config.balanced else "uniform")]

    def loss(self, batch: Batch) -> Losses:
        out = self.forward_views(batch, no_grad={"weak"})
        prediction = self.aligned(out.unlabeled.weak.logits.softmax(-1))
        self.schedule.observe(self.gather(prediction), self.gather(batch.unlabeled.index))  # type: ignore[union-attr]
        confidence, pseudo_label = prediction.max(-1)
        mask = (confidence >= self.schedule.threshold[pseudo_label]).float()

        supervised = F.cross_entropy(out.labeled.weak.logits, batch.labels)
        per_image = F.cross_entropy(out.unlabeled.strong.logits, pseudo_label, reduction="none")
        unlabeled = (per_image * mask).mean()
        total = supervised + self.config.unlabeled_weight * unlabeled
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=unlabeled)

    def aligned(self, prediction: Tensor) -> Tensor:
        """Predictions (B, C) times prior / running mean prediction, normalised; untouched without `align`."""
        if not self.config.align:
            return prediction
        mean = self.mean(prediction.mean(0))
        return align(prediction, mean, self.mean_prediction, self.prior, self.config.align_momentum)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        if self.config.schedule == "labeled-confidence":
            self.schedule.end_epoch(context.predict("labeled"), context.epoch)
        return {"threshold": self.schedule.threshold}
