"""Ada-CM, its released code's behaviour, and EACM's margin per iteration."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.head import Head
from ferbench.contract.method import EpochContext, Method, MethodConfig, Stage
from ferbench.functional import class_confidence, confidence_margin, decay_state, nt_xent
from ferbench_ada_cm.head import NormalizedHead

RELEASED: Mapping[str, Any] = {"augmented_statistics": True, "separate_forwards": True, "state_decay": 0.02}


class AdaCM(Method):
    """Ada-CM (Li et al., CVPR 2022, arXiv 2203.12341): every unlabeled image is used, by one loss or by the other.

    Subset I, where the mean prediction of two weak views reaches the margin of its class, gets pseudo-labels for its
    strong view; subset II, all others, a contrast between the features of the two weak views. The EMA teacher's
    confidence on the labeled images sets the margins after each epoch.
    """

    class Config(MethodConfig):
        """Ada-CM's options, with the values of the authors' code."""

        margin: Literal["epoch", "iteration", "fixed"] = Field(
            "epoch",
            description="when margins are learned: epoch = after each, iteration = at each step "
            "(EACM, TPAMI 2025; reconstructed from its abstract), fixed = never",
        )
        initial_margin: float = Field(0.8, ge=0, le=1, description="margin of all classes until one is learned")
        margin_floor: float = Field(0.8, ge=0, le=1, description="least learned margin; unused with margin=fixed")
        margin_decay: float = Field(0.97, ge=0, le=1, description="factor on the mean confidence of a class")
        margin_momentum: float = Field(0.99, ge=0, lt=1, description="of the confidences, with margin=iteration")
        temperature: float = Field(0.07, gt=0, description="of the feature contrast")
        dropout: float = Field(0.5, ge=0, lt=1, description="on the features, before their L2 norm")
        labeled_weight: float = Field(0.5, ge=0, description="of the cross-entropy on labeled images")
        unlabeled_weight: float = Field(1.0, ge=0, description="of the cross-entropy on subset I")
        contrast_weight: float = Field(0.1, ge=0, description="of the feature contrast on subset II")
        contrast_gradient: bool = Field(True, description="False as in the code of April 2022: a logged constant")
        augmented_statistics: bool = Field(
            False,
            description="learn margins after an epoch from weak views, the last incomplete batch left out, as in the "
            "released code",
        )
        separate_forwards: bool = Field(False, description="four forwards, each with its own BatchNorm statistics")
        state_decay: float = Field(
            0.0, ge=0, description="decay times learning rate on all float state, BatchNorm's too, instead of the "
            "optimizer's weight decay"
        )  # fmt: skip

    config: Config
    variants: ClassVar = {
        "described": {},
        "released": RELEASED,
        "released-2022-04": {**RELEASED, "contrast_gradient": False},
    }
    views = Views(labeled={"weak": weak()}, unlabeled={"weak1": weak(), "weak2": weak(), "strong": strong()})
    margin: Tensor  # (C,)
    confidence: Tensor  # (C,) running, with margin=iteration

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.separate_forwards:
            self.joint_forward = False

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        return NormalizedHead(feature_size, n_classes, self.config.dropout)

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("margin", torch.full((info.n_classes,), self.config.initial_margin))
        self.register_buffer("confidence", torch.zeros(info.n_classes))

    def stages(self) -> Sequence[Stage]:
        optimizer = {"weight_decay": 0.0} if self.config.state_decay else None
        return [Stage("train", self.loss, self.views, optimizer=optimizer)]

    def loss(self, batch: Batch) -> Losses:
        out = self.forward_views(batch)
        weak1, weak2, strong = out.unlabeled.weak1, out.unlabeled.weak2, out.unlabeled.strong
        labeled = out.labeled.weak
        self._learning_rate = batch.learning_rate
        if self.config.margin == "iteration":
            self.learn_margin(labeled.logits.detach(), batch)

        prediction = (weak1.logits.detach().softmax(-1) + weak2.logits.detach().softmax(-1)) / 2
        confidence, pseudo_label = prediction.max(-1)
        mask = (confidence >= self.margin[pseudo_label]).float()

        supervised = F.cross_entropy(labeled.logits, batch.labels)
        unlabeled = (F.cross_entropy(strong.logits, pseudo_label, reduction="none") * mask).mean()
        contrast = nt_xent(weak1.features, weak2.features, 1 - mask, self.config.temperature)
        if not self.config.contrast_gradient:
            contrast = contrast.detach()

        total = self.config.labeled_weight * supervised + self.config.unlabeled_weight * unlabeled
        total = total + self.config.contrast_weight * contrast
        terms = {"supervised": supervised, "unlabeled": unlabeled, "contrast": contrast}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    def learn_margin(self, logits: Tensor, batch: Batch) -> None:
        """EACM's margin at each iteration, from a running confidence that a class's first correct image begins."""
        confidence, counts = class_confidence(self.gather(logits), self.gather(batch.labels))
        first = self.confidence == 0
        blended = torch.where(first, confidence, self.confidence.lerp(confidence, 1 - self.config.margin_momentum))
        self.confidence.copy_(torch.where(counts > 0, blended, self.confidence))
        epoch = (batch.step + 1) / self.info.steps_per_epoch
        learned = self.confidence * self.config.margin_decay / (1 + torch.exp(-epoch))
        self.margin.copy_(torch.where(self.confidence > 0, learned.clamp_min(self.config.margin_floor), self.margin))

    def after_step(self) -> None:
        if self.config.state_decay:
            decay_state(self.net, self.config.state_decay * self._learning_rate)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        if self.config.margin == "epoch":
            augmented = self.config.augmented_statistics
            labeled = context.predict("labeled", view="weak" if augmented else "plain", drop_last=augmented)
            floor, decay = self.config.margin_floor, self.config.margin_decay
            self.margin.copy_(confidence_margin(labeled, context.epoch, floor=floor, decay=decay))
        return {"margin": self.margin}
