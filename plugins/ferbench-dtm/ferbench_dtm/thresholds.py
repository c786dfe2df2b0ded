"""The thresholds of the public code, and the reconstruction's own ones, besides FreeMatch's and FlexMatch's."""

import math

import torch
from torch import Tensor

from ferbench.blocks import ClassThresholds, DynamicThresholds, class_confidence
from ferbench.contract.batch import PoolPredictions


class LabeledAverage(ClassThresholds):
    """The thresholds of the public code (SSL-DTM, `f34da5c`): a running mean of the teacher's confidence, with a floor.

    After each epoch T_c = momentum * T_c + (1 - momentum) * m_c if m_c >= floor, else T_c = floor. m_c is the mean
    confidence of the labeled images of class c that the teacher predicts correctly. All thresholds start at the floor.
    """

    def __init__(self, n_classes: int, floor: float, momentum: float) -> None:
        super().__init__(n_classes, floor)
        self.floor, self.momentum = floor, momentum

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        """Do nothing: these thresholds do not learn from unlabeled images."""

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        """Learn from the teacher's pass over the labeled images."""
        confidence, counts = class_confidence(labeled.logits, labeled.labels)
        risen = self.threshold.lerp(confidence, 1 - self.momentum)
        self.threshold.copy_(torch.where((counts > 0) & (confidence >= self.floor), risen, self.floor))


class ClassConfidence(DynamicThresholds):
    """The reconstruction: an EMA of the global confidence, scaled by how well each class has been learned.

    T_c = min(ceiling, g * s_c / max_k s_k), where g is the EMA of the mean confidence and s_c that of the mean
    confidence of images predicted as c; both start at 1/C.
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
    """Ada-CM's idea without its floor: the teacher's confidence on correctly predicted labeled images of each class.

    T_c = ceiling * m_c / (1 + exp(-epoch)) after each epoch, where m_c is that confidence, or 1/C if no image of the
    class is correct.
    """

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        confidence, counts = class_confidence(labeled.logits, labeled.labels)
        learned = torch.where(counts > 0, confidence, 1 / len(counts))
        self._set(self.ceiling * learned / (1 + math.exp(-epoch)))
