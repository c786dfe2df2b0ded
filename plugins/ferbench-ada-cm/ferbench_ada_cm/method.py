"""Ada-CM, the behaviour of its released code, and EACM's margin per iteration."""

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
from ferbench_ada_cm.head import NormalizedHead


class Released(ReleasedLoop):
    """Options for differences of the authors' code from the paper."""

    contrast_gradient: bool = Field(
        True, description="whether the contrast has a gradient; in the code of April 2022 it had none"
    )


RELEASED = Released(augmented_statistics=True, separate_forwards=True, state_decay=0.02)


class AdaCM(Method):
    """Ada-CM (Li et al., CVPR 2022, arXiv 2203.12341): every unlabeled image is used by one of two losses.

    In subset I the mean prediction of two weak views reaches the margin of its class; it gives a pseudo-label for the
    strong view. All other images form subset II, with a contrast between the features of the two weak views. The EMA
    teacher's confidence on labeled images sets the margins after each epoch. Formulas: the authors' code, `aca2b35`.
    """

    class Config(MethodConfig):
        """Ada-CM's options; the defaults are those of the authors' code."""

        margin: MarginOptions = Field(MarginOptions(), description="options of the class margins")
        temperature: float = Field(0.07, gt=0, description="temperature of the feature contrast")
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the features, before their L2 norm")
        labeled_weight: float = Field(0.5, ge=0, description="weight of the cross-entropy on labeled images")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy on subset I")
        contrast_weight: float = Field(0.1, ge=0, description="weight of the feature contrast on subset II")
        released: Released = Field(Released(), description="differences of the authors' code from the paper")

    config: Config
    variants: ClassVar = {
        "described": {},
        "released": {"released": RELEASED.model_dump()},
        "released-2022-04": {"released": {**RELEASED.model_dump(), "contrast_gradient": False}},
    }
    views = Views(labeled={"weak": weak()}, unlabeled={"weak1": weak(), "weak2": weak(), "strong": strong()})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.joint_forward = config.released.joint_forward

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        return NormalizedHead(feature_size, n_classes, self.config.dropout)

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
        # Subset I: the mean prediction of both weak views reaches the margin of its class
        pseudo_label, mask = self.margin((weak1.probabilities + weak2.probabilities).detach() / 2)
        # Cross-entropy on labeled images, and on strong views of subset I
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        pseudo = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # Contrast between the weak views of subset II
        contrast = nt_xent(weak1.features, weak2.features, 1 - mask, c.temperature)
        contrast = contrast if c.released.contrast_gradient else contrast.detach()
        # Total
        total = c.labeled_weight * supervised + c.unlabeled_weight * pseudo + c.contrast_weight * contrast
        terms = {"supervised": supervised, "unlabeled": pseudo, "contrast": contrast}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    def after_step(self, info: StepInfo) -> None:
        self.config.released.after_step(self.net, info.batch.learning_rate)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        return self.margin.end_epoch(context, self.config.released.labeled_pass)
