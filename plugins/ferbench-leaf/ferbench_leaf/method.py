"""LEAF, and its released code's behaviour."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.head import Head
from ferbench.contract.method import EpochContext, Method, MethodConfig, Stage
from ferbench.functional import confidence_margin, decay_state, nt_xent
from ferbench_leaf.category import ambiguous_loss
from ferbench_leaf.head import LeafHead

LEAST = 1e-12  # of a mean loss that is divided by


class Leaf(Method):
    """LEAF (Zhang et al., CVIU 2025, arXiv 2404.15041), on Ada-CM's margins and contrast.

    Semantic and instance level are the head's; the category level trains strong views on ambiguous pseudo-labels, and
    the predictions of the two weak views are kept consistent. Reconstructed from abstract and code: see the README.
    """

    class Config(MethodConfig):
        """LEAF's options; the values of the authors' code where it has them."""

        initial_margin: float = Field(0.8, ge=0, le=1, description="margin of all classes until one is learned")
        margin_floor: float = Field(0.8, ge=0, le=1, description="least learned margin")
        margin_decay: float = Field(0.97, ge=0, le=1, description="factor on the mean confidence of a class")
        temperature: float = Field(0.07, gt=0, description="of the feature contrast")
        labeled_weight: float = Field(0.5, ge=0, description="of the cross-entropy on labeled images")
        unlabeled_weight: float = Field(1.0, ge=0, description="of the loss on pseudo-labeled strong views")
        contrast_weight: float = Field(0.1, ge=0, description="of the feature contrast below the margin")
        consistency_weight: float = Field(1.0, ge=0, description="of the squared difference of weak predictions")
        dropout: float = Field(0.5, ge=0, lt=1, description="on the features")
        semantic: bool = Field(True, description="semantic level: gates per feature")
        instance: bool = Field(True, description="instance level: gates per image")
        category: bool = Field(True, description="category level: ambiguous pseudo-labels; else cross-entropy")
        decoupled: bool = Field(True, description="fuse expression-relevant with expression-agnostic features")
        experts: int = Field(8, ge=1, description="experts of each level")
        top_k: int = Field(2, ge=1, description="experts per image; gates learn from 2 on")
        balance_weight: float = Field(0.01, ge=0, description="of the load-balancing loss")
        shared_experts: bool = Field(False, description="all experts are one, as in the released code")
        positives: int = Field(3, ge=1, description="most classes of an ambiguous pseudo-label")
        positive_mass: float = Field(0.9, ge=0, le=1, description="probability that its classes hold")
        off_by_one: bool = Field(False, description="count the mass of one class more, as in the released code")
        batch_mask: bool = Field(
            False, description="scale the batch's category loss by its mask rate and to the cross-entropy, instead of "
            "leaving out images, as in the released code"
        )  # fmt: skip
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

        @model_validator(mode="after")
        def _enough_experts(self) -> "Leaf.Config":
            if self.top_k > self.experts:
                raise ValueError(f"top_k {self.top_k} must be at most the {self.experts} experts")
            return self

    config: Config
    variants: ClassVar = {
        "described": {},
        "released": {
            "shared_experts": True,
            "top_k": 1,
            "balance_weight": 0.0,
            "decoupled": False,
            "consistency_weight": 0.0,
            "off_by_one": True,
            "batch_mask": True,
            "augmented_statistics": True,
            "separate_forwards": True,
            "state_decay": 0.02,
        },
    }
    views = Views(labeled={"weak": weak()}, unlabeled={"weak1": weak(), "weak2": weak(), "strong": strong()})
    margin: Tensor  # (C,)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.separate_forwards:
            self.joint_forward = False

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        names = ("dropout", "experts", "top_k", "balance_weight", "semantic", "instance", "decoupled", "shared_experts")
        return LeafHead(feature_size, n_classes, **{name: getattr(self.config, name) for name in names})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("margin", torch.full((info.n_classes,), self.config.initial_margin))

    def stages(self) -> Sequence[Stage]:
        optimizer = {"weight_decay": 0.0} if self.config.state_decay else None
        return [Stage("train", self.loss, self.views, optimizer=optimizer)]

    def loss(self, batch: Batch) -> Losses:
        out = self.forward_views(batch)
        weak1, weak2, strong = out.unlabeled.weak1, out.unlabeled.weak2, out.unlabeled.strong
        self._learning_rate = batch.learning_rate
        pseudo_label, mask = self.pseudo_labels(weak1.logits, weak2.logits)

        supervised = F.cross_entropy(out.labeled.weak.logits, batch.labels)
        unlabeled = self.category_loss(strong.logits, (weak1.logits + weak2.logits) / 2, pseudo_label, mask)
        contrast = nt_xent(weak1.features, weak2.features, 1 - mask, self.config.temperature)
        consistency = (weak1.logits.softmax(-1) - weak2.logits.softmax(-1)).square().sum(-1).mean()

        c = self.config
        total = c.labeled_weight * supervised + c.unlabeled_weight * unlabeled
        total = total + c.contrast_weight * contrast + c.consistency_weight * consistency
        terms = {"supervised": supervised, "unlabeled": unlabeled, "contrast": contrast, "consistency": consistency}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    @torch.no_grad()
    def pseudo_labels(self, weak1: Tensor, weak2: Tensor) -> tuple[Tensor, Tensor]:
        """Pseudo-labels (B,) int64 of the mean prediction, and 1 where it reaches the margin of its class, (B,)."""
        confidence, pseudo_label = ((weak1.softmax(-1) + weak2.softmax(-1)) / 2).max(-1)
        return pseudo_label, (confidence >= self.margin[pseudo_label]).float()

    def category_loss(self, logits: Tensor, reference: Tensor, pseudo_label: Tensor, mask: Tensor) -> Tensor:
        """The loss of strong views: logits and mean weak logits (B, C), pseudo-labels and mask (B,) to a scalar."""
        c = self.config
        cross_entropy = F.cross_entropy(logits, pseudo_label, reduction="none")
        if not c.category:
            return (cross_entropy * mask).mean()
        loss, weight = ambiguous_loss(
            logits, reference, positives=c.positives, mass=c.positive_mass, off_by_one=c.off_by_one
        )
        if not c.batch_mask:
            return (mask * weight * loss).mean()
        ambiguous = (weight * loss).mean()
        balance = (cross_entropy.mean() / ambiguous.clamp_min(LEAST)).detach()
        return balance * ambiguous * mask.mean()

    def after_step(self) -> None:
        if self.config.state_decay:
            decay_state(self.net, self.config.state_decay * self._learning_rate)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        augmented = self.config.augmented_statistics
        labeled = context.predict("labeled", view="weak" if augmented else "plain", drop_last=augmented)
        floor, decay = self.config.margin_floor, self.config.margin_decay
        self.margin.copy_(confidence_margin(labeled, context.epoch, floor=floor, decay=decay))
        return {"margin": self.margin}
