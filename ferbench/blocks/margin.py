"""The confidence margin of Ada-CM, also used by LEAF."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ferbench.blocks.thresholds import ClassThresholds, class_confidence
from ferbench.contract.batch import Batch, MethodInfo, PoolPredictions
from ferbench.contract.method import MethodConfig
from ferbench.contract.stage import EpochContext


class MarginOptions(MethodConfig):
    """Options for learning margins; the defaults are those of the authors' code."""

    update: Literal["epoch", "iteration", "fixed"] = Field(
        "epoch",
        description="when margins are learned: epoch = after each epoch, iteration = at each step (EACM, TPAMI 2025; "
        "reconstructed from its abstract), fixed = never",
    )
    initial: float = Field(0.8, ge=0, le=1, description="margin of each class until one is learned")
    floor: float = Field(0.8, ge=0, le=1, description="smallest learned margin; unused with margin.update=fixed")
    decay: float = Field(0.97, ge=0, le=1, description="factor on the mean confidence of a class")
    momentum: float = Field(
        0.99, ge=0, lt=1, description="momentum of the mean confidences, with margin.update=iteration"
    )


class ConfidenceMargin(ClassThresholds):
    """A margin for each class that rises with the confidence on its labeled images (Ada-CM, Li et al., CVPR 2022).

    T_c = max(floor, m_c * decay / (1 + exp(-epoch))), where m_c is the mean confidence of the correctly predicted
    labeled images of class c. It is computed from the teacher's predictions after each epoch, or as a running mean of
    the net's predictions at each step (EACM). `gather` is the method's `gather` over processes.
    """

    confidence: Tensor  # (C,) float32, running m_c, with update=iteration

    def __init__(self, info: MethodInfo, options: MarginOptions, gather: Callable[[Tensor], Tensor]) -> None:
        super().__init__(info.n_classes, options.initial)
        self.options, self.gather, self.steps_per_epoch = options, gather, info.steps_per_epoch
        self.register_buffer("confidence", torch.zeros(info.n_classes))

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """Learn from the net's logits (B, C) of a step's labeled images, if update=iteration (EACM)."""
        if self.options.update != "iteration":
            return
        confidence, counts = class_confidence(self.gather(logits.detach()), self.gather(batch.labels))
        first = self.confidence == 0  # the mean of a class begins with its first correct image
        blended = torch.where(first, confidence, self.confidence.lerp(confidence, 1 - self.options.momentum))
        self.confidence.copy_(torch.where(counts > 0, blended, self.confidence))
        epoch = (batch.step + 1) / self.steps_per_epoch
        learned = self._learned(self.confidence, 1 + torch.exp(-epoch))
        self.threshold.copy_(torch.where(self.confidence > 0, learned, self.threshold))

    def end_epoch(
        self, context: EpochContext, labeled_pass: Callable[[EpochContext], PoolPredictions]
    ) -> Mapping[str, Tensor]:
        """Learn from a pass over the labeled images, if update=epoch; a class without correct images gets the floor.

        Returns the margins for the history.
        """
        if self.options.update == "epoch":
            predictions = labeled_pass(context)
            confidence, _ = class_confidence(predictions.logits, predictions.labels)
            self.threshold.copy_(self._learned(confidence, 1 + math.exp(-context.epoch)))
        return {"margin": self.threshold}

    def _learned(self, confidence: Tensor, rise: Tensor | float) -> Tensor:
        return (confidence * self.options.decay / rise).clamp_min(self.options.floor)
