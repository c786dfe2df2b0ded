"""Methods of which each breaks one promise; the base is honest."""

import os
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage

KEPT: list[Tensor] = []


class Honest(Method):
    """Hard pseudo-labels of weak views train strong ones where they are confident."""

    class Config(MethodConfig):
        threshold: float = Field(0.4, ge=0, le=1, description="confidence from which a pseudo-label is used")

    config: Any
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        confidence, label = unlabeled.weak.probabilities.max(-1)
        mask = (confidence > self.config.threshold).float()
        per_image = F.cross_entropy(unlabeled.strong.logits, label, reduction="none")
        total = supervised + (mask * per_image).mean()
        return self.told(total, label, mask, confidence)

    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=label, mask=mask)


class IgnoredOption(Honest):
    class Config(Honest.Config):
        temperature: float = Field(1.0, gt=0, description="read by nobody")


class Growing(Honest):
    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        KEPT.append(total)
        return Losses(total, pseudo_label=label, mask=mask)


class FloatLabels(Honest):
    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=label.float(), mask=mask)


class TwiceTheLabels(Honest):
    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=torch.cat([label, label]), mask=torch.cat([mask, mask]))


class AllUsed(Honest):
    """Says that every image trains, whatever does."""

    class Config(Honest.Config):
        threshold: float = Field(0.9999, ge=0, le=1, description="confidence from which a pseudo-label is used")

    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=label, mask=torch.ones_like(mask))


class SurestAlone(Honest):
    """Trains all, and shows the surest, for a fine precision."""

    class Config(Honest.Config):
        threshold: float = Field(0.0, ge=0, le=1, description="confidence from which a pseudo-label is used")

    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=label, mask=(confidence == confidence.max()).float())


class OtherLabel(Honest):
    """Shows another label than the one that trains."""

    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total, pseudo_label=(label + 1) % self.info.n_classes, mask=mask)


class InnerSteps(Honest):
    def after_step(self, info: StepInfo) -> None:
        optimizer = torch.optim.SGD(self.net.parameters(), 1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            self.net(info.batch.labeled.images["weak"]).logits.square().mean().backward()
            optimizer.step()


class OtherNetEachTime(Honest):
    evaluates = "a net of its own"

    def evaluation_net(self) -> Network:
        for parameter in self.teacher.parameters():
            parameter.add_(1e-3)
        return self.teacher


class HashedSeed(Honest):
    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("weight", torch.tensor(hash(os.path.basename("faces")) % 1000 / 1000))

    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        return Losses(total * (1 + self.weight), pseudo_label=label, mask=mask)


class InPlace(Honest):
    def told(self, total: Tensor, label: Tensor, mask: Tensor, confidence: Tensor) -> Losses:
        self.batch.labels.zero_()
        return Losses(total, pseudo_label=label, mask=mask)

    def loss(self, batch: Batch) -> Losses:
        self.__dict__["batch"] = batch
        return super().loss(batch)


class DictViews(Honest):
    """Views as a dict."""

    views = {"labeled": {"weak": weak()}}  # type: ignore[assignment]


class EarlyInfo(Honest):
    """Wants to know of the run before there is one."""

    def stages(self) -> list[Stage]:
        return [Stage(f"of {self.info.n_classes}", self.loss, self.views)]
