"""Noisy Student."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import ranks_in_class
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong
from ferbench.contract.head import Head, LinearHead
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage, StageContext


class NoisyStudent(Method):
    """Noisy Student (Xie et al., CVPR 2020, arXiv 1911.04252, Algorithm 1): noisy students, teachers without noise.

    1. A teacher learns the labeled images. 2. Without noise it predicts soft pseudo-labels for the pool. 3. A new
    student learns both, with noise: strong views, dropout. 4. It becomes the next teacher. Students draw from a set
    with equally many pool images of each class: the most confident ones or, if too few reach the threshold, copies.
    """

    class Config(MethodConfig):
        """Noisy Student's options."""

        iterations: int = Field(3, ge=1, description="number of students; they share the steps with a teacher")
        threshold: float = Field(0.3, ge=0, le=1, description="smallest confidence of an image that takes part")
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the features, before the last layer")

    config: Config
    requires = frozenset({"pool_index"})
    views = Views(labeled={"strong": strong()}, unlabeled={"strong": strong()})
    pseudo_label: Tensor  # (N, C) float32, rows sum to 1
    copies: Tensor  # (N,) float32, number of copies of an image in the balanced set

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        return LinearHead(feature_size, n_classes, self.config.dropout)

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("pseudo_label", torch.zeros(info.n_unlabeled or 1, info.n_classes))
        self.register_buffer("copies", torch.zeros(info.n_unlabeled or 1))

    def stages(self) -> Sequence[Stage]:
        teacher = Stage("teacher", self.teacher_loss, Views(labeled=self.views.labeled), data="labeled")
        names = [f"student{k + 1}" for k in range(self.config.iterations)]
        return [teacher, *(Stage(n, self.loss, self.views, fresh=True, unlabeled_weights=self.draws) for n in names)]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        """Step 2, with the EMA of the previous stage, on plain images."""
        if stage.name != "teacher":
            for part in context.predict("unlabeled"):
                self.pseudo_label[part.index] = part.logits.softmax(-1)
            self.copies.copy_(balanced_copies(self.pseudo_label, self.config.threshold))

    def draws(self) -> Tensor:
        return self.copies + ~self.copies.any()  # of an empty set, all alike

    def teacher_loss(self, batch: Batch) -> Losses:
        return Losses(F.cross_entropy(self.forward_images(batch.labeled.images["strong"]).logits, batch.labels))

    def loss(self, batch: Batch) -> Losses:
        """Step 3: mean loss of labeled images, plus that of draws from the balanced set."""
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        own = F.cross_entropy(labeled.strong.logits, batch.labels)
        target, mask = self.pseudo_label[batch.unlabeled.index], (self.copies[batch.unlabeled.index] > 0).float()
        pseudo = (F.cross_entropy(unlabeled.strong.logits, target, reduction="none") * mask).mean()
        return Losses(own + pseudo, pseudo_label=target.argmax(-1), mask=mask, supervised=own, unlabeled=pseudo)


def balanced_copies(prediction: Tensor, threshold: float) -> Tensor:
    """Return the copies of each image, (N,), in a set with equally many per class: the mean number above threshold."""
    confidence, label = prediction.max(-1)
    counts = torch.bincount(label[confidence >= threshold], minlength=prediction.shape[1])
    each = counts.sum() / (counts > 0).sum().clamp_min(1)
    chosen = (confidence >= threshold) & (ranks_in_class(confidence, label, prediction.shape[1]) < each)
    return chosen * (each / counts[label].clamp(min=1)).clamp_min(1)
