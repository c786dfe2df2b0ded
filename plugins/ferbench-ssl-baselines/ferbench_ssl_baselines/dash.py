"""Dash."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import masked_mean, one_hot, sharpen
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage, StageContext


class Dash(Method):
    """Dash (Xu et al., ICML 2021, Algorithm 1): unlabeled images count if their loss is below a falling threshold.

        Warm-up: the labeled loss only. Then rho^ = mean over the labeled images of H(y, p(x))     (Eq. 12)
        rho_t = max(C gamma^-(t - 1) rho^, rho_min), where t - 1 grows by 1 every 9 of 1024 epochs
        f_u = H(q, p(strong u)), q = Sharpen(p(weak u), 0.5), one-hot once rho_t = rho_min         (Eq. 13)
        L = mean of H(y, p(x)) + lambda mean of f_u over the images with H(argmax q, p(weak u)) <= rho_t

    In the authors' code, as here, the loss of the weak view selects; it has lambda = 0.9, as `released` does.
    """

    class Config(MethodConfig):
        """Dash's options."""

        warmup: float = Field(10 / 1024, gt=0, lt=1, description="share of the run that trains only on labels")
        interval: float = Field(9 / 1024, gt=0, le=1, description="share of the rest with a constant threshold")
        gamma: float = Field(1.27, gt=1, description="divisor of the threshold after each interval")
        factor: float = Field(1.0001, ge=1, description="factor of the initial threshold, C")
        least: float = Field(0.05, gt=0, description="smallest threshold, rho_min")
        temperature: float = Field(0.5, ge=0.05, description="temperature of the targets until the smallest threshold")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda")
        select_by: Literal["weak", "strong"] = Field("weak", description="view whose loss selects the images")

    config: Config
    variants: ClassVar = {"described": {}, "released": {"unlabeled_weight": 0.9}}
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    initial: Tensor  # () float32, rho^

    def stages(self) -> Sequence[Stage]:
        share, labeled = self.config.warmup, Views(labeled=self.views.labeled)
        return [
            Stage("warm-up", self.supervised, labeled, data="labeled", share=share),
            Stage("selection", self.loss, self.views, share=1 - share),
        ]

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("initial", torch.zeros(()))

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        if stage.name == "selection":
            seen = context.predict("labeled", net="student")
            self.initial.copy_(F.cross_entropy(seen.logits, seen.labels))

    def supervised(self, batch: Batch) -> Losses:
        """Return the loss of the warm-up."""
        return Losses(F.cross_entropy(self.forward_images(batch.labeled.images["weak"]).logits, batch.labels))

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # The threshold of this step
        rho = (c.factor * self.initial / c.gamma ** (batch.progress / c.interval).floor()).clamp_min(c.least)
        # Losses with sharpened targets, one-hot at the end (Eq. 13)
        confidence, pseudo_label = unlabeled.weak.probabilities.max(-1)
        soft = sharpen(unlabeled.weak.probabilities, c.temperature)
        target = torch.where(rho <= c.least, one_hot(pseudo_label, self.info.n_classes), soft)
        per_image = F.cross_entropy(unlabeled.strong.logits, target, reduction="none")
        # The mean of the losses that are small enough
        mask = ((per_image.detach() if c.select_by == "strong" else -confidence.log()) <= rho).float()
        selected = masked_mean(per_image, mask, self.mean)
        total = supervised + c.unlabeled_weight * selected
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=selected, rho=rho)
