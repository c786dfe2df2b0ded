"""Dynamic thresholds: how confident a pseudo-label of each class must be, as training goes on.

Each schedule keeps what it knows in buffers and answers with the thresholds of all classes, (C,) float32 in 0..1, which
start permissive and rise. `observe` sees each step's weak predictions, and nothing else.
"""

import math

import torch
from torch import Tensor, nn

from ferbench.contract.batch import PoolPredictions
from ferbench.functional import class_confidence


class Schedule(nn.Module):
    """The thresholds of C classes, of which none is above `ceiling`."""

    threshold: Tensor  # (C,)

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__()
        self.ceiling, self.momentum = ceiling, momentum
        self.register_buffer("threshold", torch.full((n_classes,), min(ceiling, 1 / n_classes)))

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        """Learn from the predictions (B, C) of a step's unlabeled weak views and their places in the pool (B,)."""

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        """Learn from the teacher's pass over the labeled images."""

    def _running(self, average: Tensor, value: Tensor) -> None:
        average.lerp_(value, 1 - self.momentum)

    def _set(self, threshold: Tensor) -> None:
        self.threshold.copy_(threshold.clamp_max(self.ceiling))


class ClassConfidence(Schedule):
    """The reconstruction: a global confidence by EMA, scaled per class by how far the class has been learned.

    g = EMA of the mean confidence, s_c = EMA of the mean confidence of images predicted as c, both from 1/C;
    T_c = min(ceiling, g * s_c / max_k s_k).
    """

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, ceiling, momentum)
        self.register_buffer("confidence", torch.full((), 1 / n_classes))
        self.register_buffer("learned", torch.full((n_classes,), 1 / n_classes))

    confidence: Tensor
    learned: Tensor

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        confidence, predicted = predictions.max(-1)
        self._running(self.confidence, confidence.mean())
        of_class, counts = class_confidence(predictions.log(), predicted)
        self._running(self.learned, torch.where(counts > 0, of_class, self.learned))
        self._set(self.confidence * self.learned / self.learned.max())


class UnlabeledConfidence(Schedule):
    """FreeMatch's thresholds (Wang et al., ICLR 2023, Eqs. 5 to 8, as in USB's code).

    t = EMA of the mean confidence, p_c = EMA of the mean prediction, both from 1/C; T_c = t * p_c / max_k p_k.
    """

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, ceiling, momentum)
        self.register_buffer("confidence", torch.full((), 1 / n_classes))
        self.register_buffer("prediction", torch.full((n_classes,), 1 / n_classes))

    confidence: Tensor
    prediction: Tensor

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        self._running(self.confidence, predictions.max(-1).values.mean())
        self._running(self.prediction, predictions.mean(0))
        self._set(self.confidence * self.prediction / self.prediction.max())


class LabeledConfidence(Schedule):
    """Ada-CM's idea without its floor: the teacher's confidence on the labeled images of a class that it gets right.

    T_c = ceiling * m_c / (1 + exp(-epoch)), after each epoch; m_c is 1/C for a class without a correct image.
    """

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        confidence, counts = class_confidence(labeled.logits, labeled.labels)
        learned = torch.where(counts > 0, confidence, 1 / len(counts))
        self._set(self.ceiling * learned / (1 + math.exp(-epoch)))


class LearningStatus(Schedule):
    """FlexMatch's thresholds (Zhang et al., NeurIPS 2021, Eqs. 5 to 11, with warm-up, as in USB's code).

    n_c = pool images whose latest confident prediction is c; b_c = n_c / max(max_k n_k, images never confident);
    T_c = ceiling * b_c / (2 - b_c). Needs a pool whose images have places.
    """

    latest: Tensor  # (pool,)

    def __init__(self, n_classes: int, ceiling: float, momentum: float, pool: int) -> None:
        super().__init__(n_classes, ceiling, momentum)
        self.n_classes = n_classes
        self.register_buffer("latest", torch.full((pool,), n_classes))  # class C: never confident

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        confidence, predicted = predictions.max(-1)
        self.latest[index] = torch.where(confidence >= self.ceiling, predicted, self.latest[index])
        classes = torch.arange(self.n_classes + 1, device=self.latest.device)
        counts = (self.latest.unsqueeze(1) == classes).sum(0)
        status = counts[:-1] / counts.max().clamp_min(1)
        self._set(self.ceiling * status / (2 - status))
