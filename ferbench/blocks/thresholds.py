"""Confidence thresholds for pseudo-labels, per class: fixed ones, and those that follow what the net has learned."""

import torch
from torch import Tensor, nn

from ferbench.contract.batch import PoolPredictions


class ClassThresholds(nn.Module):
    """A threshold for each of C classes, all `initial` at first.

    Maps predictions (B, C) float to pseudo-labels (B,) int64 and a mask (B,) float32, which is 1 if the prediction
    reaches the threshold of its class.
    """

    threshold: Tensor  # (C,) float32 in 0..1

    def __init__(self, n_classes: int, initial: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.full((n_classes,), initial))

    def forward(self, prediction: Tensor) -> tuple[Tensor, Tensor]:
        confidence, pseudo_label = prediction.max(-1)
        return pseudo_label, (confidence >= self.threshold[pseudo_label]).float()


class DynamicThresholds(ClassThresholds):
    """Thresholds that start low, at 1 / C, and rise with what the net has learned, up to `ceiling`.

    `momentum` is the momentum of running means, per step. Subclasses learn from the unlabeled images of each step, or
    from the labeled ones after each epoch.
    """

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, min(ceiling, 1 / n_classes))
        self.ceiling, self.momentum = ceiling, momentum

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        """Learn from predictions (B, C) for a step's unlabeled weak views; `index` (B,) has their pool positions."""

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        """Learn from the teacher's pass over the labeled images; epochs count from 1."""

    def _running(self, average: Tensor, value: Tensor) -> None:
        average.lerp_(value, 1 - self.momentum)

    def _set(self, threshold: Tensor) -> None:
        self.threshold.copy_(threshold.clamp_max(self.ceiling))


class UnlabeledConfidence(DynamicThresholds):
    """FreeMatch's thresholds (Wang et al., ICLR 2023, Eqs. 5 to 8, as in USB's code).

    T_c = t * p_c / max_k p_k, where t is the EMA of the mean confidence and p_c that of the mean prediction; both start
    at 1/C.
    """

    confidence: Tensor  # ()
    prediction: Tensor  # (C,)

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, ceiling, momentum)
        self.register_buffer("confidence", torch.full((), 1 / n_classes))
        self.register_buffer("prediction", torch.full((n_classes,), 1 / n_classes))

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        self._running(self.confidence, predictions.max(-1).values.mean())
        self._running(self.prediction, predictions.mean(0))
        self._set(self.confidence * self.prediction / self.prediction.max())


class LearningStatus(DynamicThresholds):
    """FlexMatch's thresholds (Zhang et al., NeurIPS 2021, Eqs. 5 to 11, with warm-up, as in USB's code).

    T_c = ceiling * b_c / (2 - b_c) with b_c = n_c / max(max_k n_k, n_0), where n_c is the number of pool images whose
    latest confident prediction is c, and n_0 the number of those without any. It needs the size of the pool, and a
    pool whose images have positions.
    """

    latest: Tensor  # (pool,) int64

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


def class_confidence(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean confidence of the correctly predicted images of each class, and their number.

    `logits` are (N, C), `labels` (N,) int64. Both results are (C,), with the dtype of the logits; the confidence is in
    0..1, and 0 for a class without correct images.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    right = ((labels.unsqueeze(1) == classes) & (predicted == labels).unsqueeze(1)).to(logits.dtype)  # (N, C)
    counts = right.sum(0)
    return (right * confidence.unsqueeze(1)).sum(0) / counts.clamp_min(1), counts
