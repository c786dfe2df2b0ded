"""The thresholds of the public code, and those that the reconstruction tries beside FreeMatch's and FlexMatch's."""

import math

import torch
from torch import Tensor

from ferbench.blocks import ClassThresholds, DynamicThresholds, class_confidence
from ferbench.contract.batch import PoolPredictions


class LabeledAverage(ClassThresholds):
    """The public code's (SSL-DTM, `f34da5c`): a running mean of the teacher's confidence, never below a floor.

    After each epoch T_c = momentum * T_c + (1 - momentum) * m_c where m_c >= floor, else T_c = floor; m_c is the mean
    confidence of the labeled images of class c that the teacher predicts correctly. All begin at the floor.
    """

    def __init__(self, n_classes: int, floor: float, momentum: float) -> None:
        super().__init__(n_classes, floor)
        self.floor, self.momentum = floor, momentum

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        """Unlabeled images teach these thresholds nothing."""

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        """Learn from the teacher's pass over the labeled images."""
        confidence, counts = class_confidence(labeled.logits, labeled.labels)
        risen = self.threshold.lerp(confidence, 1 - self.momentum)
        self.threshold.copy_(torch.where((counts > 0) & (confidence >= self.floor), risen, self.floor))


class ClassConfidence(DynamicThresholds):
    """The reconstruction: a global confidence by EMA, scaled per class by how far the class has been learned.

    g = EMA of the mean confidence, s_c = EMA of the mean confidence of images predicted as c, both from 1/C;
    T_c = min(ceiling, g * s_c / max_k s_k).
    """

    confidence: Tensor  # ()
    learned: Tensor  # (C,)

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, ceiling, momentum)
        self.register_buffer("confidence", torch.full((), 1 / n_classes))
        self.register_buffer("learned", torch.full((n_classes,), 1 / n_classes))

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        confidence, predicted = predictions.max(-1)
        self._running(self.confidence, confidence.mean())
        of_class, counts = class_confidence(predictions.log(), predicted)
        self._running(self.learned, torch.where(counts > 0, of_class, self.learned))
        self._set(self.confidence * self.learned / self.learned.max())


class LabeledConfidence(DynamicThresholds):
    """Ada-CM's idea without its floor: the teacher's confidence on the labeled images of a class that it gets right.

    T_c = ceiling * m_c / (1 + exp(-epoch)), after each epoch; m_c is 1/C for a class without a correct image.
    """

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        confidence, counts = class_confidence(labeled.logits, labeled.labels)
        learned = torch.where(counts > 0, confidence, 1 / len(counts))
        self._set(self.ceiling * learned / (1 + math.exp(-epoch)))
