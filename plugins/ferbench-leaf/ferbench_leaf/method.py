"""LEAF, and the behaviour of its released code."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import ConfidenceMargin, MarginOptions, ReleasedLoop, nt_xent
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, Views, strong, weak
from ferbench.contract.head import Head
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import EpochContext, Stage
from ferbench_leaf.category import CategoryOptions, category_loss
from ferbench_leaf.head import HeadOptions, LeafHead


class Released(ReleasedLoop):
    """Options for differences of the authors' code from our reconstruction."""

    shared_experts: bool = Field(False, description="use one expert object for all experts")
    off_by_one: bool = Field(False, description="count the mass of one class more than the positive ones")
    batch_mask: bool = Field(False, description="scale the category loss of all images by the mask rate of the batch")


class Leaf(Method):
    """LEAF (Zhang et al., CVIU 2025, arXiv 2404.15041), with Ada-CM's margins and contrast.

    The head contains the semantic and the instance level. The category level trains strong views with ambiguous
    pseudo-labels; a loss keeps the predictions of the two weak views consistent. Reconstruction: see the README.
    """

    class Config(MethodConfig):
        """LEAF's options; the defaults are those of the authors' code, if it has the option."""

        margin: MarginOptions = Field(MarginOptions(), description="options of the class margins")
        temperature: float = Field(0.07, gt=0, description="temperature of the feature contrast")
        labeled_weight: float = Field(0.5, ge=0, description="weight of the cross-entropy on labeled images")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the loss on pseudo-labeled strong views")
        contrast_weight: float = Field(0.1, ge=0, description="weight of the feature contrast below the margin")
        consistency_weight: float = Field(1.0, ge=0, description="weight of the squared difference of weak predictions")
        head: HeadOptions = Field(HeadOptions(), description="options of the semantic and instance level")
        category: CategoryOptions = Field(CategoryOptions(), description="options of the category level")
        released: Released = Field(Released(), description="differences of the authors' code from our reconstruction")

    config: Config
    variants: ClassVar = {
        "described": {},
        "released": {
            "head": {"top_k": 1, "balance_weight": 0.0, "decoupled": False},
            "consistency_weight": 0.0,
            "released": Released(
                augmented_statistics=True, separate_forwards=True, state_decay=0.02,
                shared_experts=True, off_by_one=True, batch_mask=True,
            ).model_dump(),
        },
    }  # fmt: skip
    views = Views(labeled={"weak": weak()}, unlabeled={"weak1": weak(), "weak2": weak(), "strong": strong()})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.joint_forward = config.released.joint_forward

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        shared = self.config.released.shared_experts
        return LeafHead(feature_size, n_classes, shared_experts=shared, **self.config.head.model_dump())

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.margin = ConfidenceMargin(info, self.config.margin, self.gather)

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, optimizer=self.config.released.optimizer)]

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        weak1, weak2 = unlabeled.weak1, unlabeled.weak2
        # EACM's margins of this step
        self.margin.observe(labeled.weak.logits, batch)
        # Pseudo-labels from the mean weak prediction, if it reaches the margin of its class
        first, second = weak1.probabilities, weak2.probabilities
        pseudo_label, mask = self.margin((first + second).detach() / 2)
        # Cross-entropy on labeled images
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Category level: strong views against ambiguous pseudo-labels
        category = category_loss(
            unlabeled.strong.logits, (weak1.logits + weak2.logits) / 2, pseudo_label, mask, c.category,
            off_by_one=c.released.off_by_one, batch_mask=c.released.batch_mask,
        )  # fmt: skip
        # Contrast between the weak views below the margin; consistency of their predictions
        contrast = nt_xent(weak1.features, weak2.features, 1 - mask, c.temperature)
        consistency = (first - second).square().sum(-1).mean()
        # Total
        total = c.labeled_weight * supervised + c.unlabeled_weight * category
        total = total + c.contrast_weight * contrast + c.consistency_weight * consistency
        terms = {"supervised": supervised, "unlabeled": category, "contrast": contrast, "consistency": consistency}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    def after_step(self, info: StepInfo) -> None:
        self.config.released.after_step(self.net, info.batch.learning_rate)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        return self.margin.end_epoch(context, self.config.released.labeled_pass)
