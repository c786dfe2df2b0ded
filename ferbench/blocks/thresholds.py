"""How confident a pseudo-label of each class must be, and thresholds that follow what the net has learned."""

import torch
from torch import Tensor, nn

from ferbench.contract.batch import PoolPredictions


class ClassThresholds(nn.Module):
    """A threshold for each of C classes, all `initial` at first.

    Predictions (B, C) float to pseudo-labels (B,) int64 and a mask (B,) float32: 1 where the prediction reaches the
    threshold of its class.
    """

    threshold: Tensor  # (C,) float32 in 0..1

    def __init__(self, n_classes: int, initial: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.full((n_classes,), initial))

    def forward(self, prediction: Tensor) -> tuple[Tensor, Tensor]:
        confidence, pseudo_label = prediction.max(-1)
        return pseudo_label, (confidence >= self.threshold[pseudo_label]).float()


class DynamicThresholds(ClassThresholds):
    """Thresholds that start permissive, at 1 / C, and rise with what the net has learned, never above `ceiling`.

    `momentum` is that of running means, per step. Subclasses learn from the unlabeled images of each step, or from the
    labeled ones after each epoch.
    """

    def __init__(self, n_classes: int, ceiling: float, momentum: float) -> None:
        super().__init__(n_classes, min(ceiling, 1 / n_classes))
        self.ceiling, self.momentum = ceiling, momentum

    def observe(self, predictions: Tensor, index: Tensor) -> None:
        """Learn from the predictions (B, C) of a step's unlabeled weak views and their places in the pool (B,)."""

    def end_epoch(self, labeled: PoolPredictions, epoch: int) -> None:
        """Learn from the teacher's pass over the labeled images; epochs count from 1."""

    def _running(self, average: Tensor, value: Tensor) -> None:
        average.lerp_(value, 1 - self.momentum)

    def _set(self, threshold: Tensor) -> None:
        self.threshold.copy_(threshold.clamp_max(self.ceiling))


class UnlabeledConfidence(DynamicThresholds):
    """FreeMatch's thresholds (Wang et al., ICLR 2023, Eqs. 5 to 8, as in USB's code).

    t = EMA of the mean confidence, p_c = EMA of the mean prediction, both from 1/C; T_c = t * p_c / max_k p_k.
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

    n_c = pool images whose latest confident prediction is c; b_c = n_c / max(max_k n_k, images never confident);
    T_c = ceiling * b_c / (2 - b_c). Needs a pool whose images have places, and the pool's size.
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
    """How sure a net is of each class where it is right.

    Logits (N, C) and labels (N,) int64 give the mean confidence, in 0..1, of the images of each class that are
    predicted correctly (C,), 0 for a class without any, and their number (C,), both of the logits' dtype.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    right = ((labels.unsqueeze(1) == classes) & (predicted == labels).unsqueeze(1)).to(logits.dtype)  # (N, C)
    counts = right.sum(0)
    return (right * confidence.unsqueeze(1)).sum(0) / counts.clamp_min(1), counts
