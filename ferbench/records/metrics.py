"""The numbers of a record, from logits and labels: the same arithmetic when a run ends and when it is verified."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferbench.records.schema import Metrics

ECE_BINS = 15
FLOAT16_MAX = float(np.finfo(np.float16).max)


def to_float16(logits: NDArray[np.floating]) -> NDArray[np.float16]:
    """Logits as they are stored: rounded to float16, with values beyond its range held at its limits."""
    if np.isnan(logits).any():
        raise ValueError("logits hold NaN")
    return np.clip(logits, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)


def evaluate(
    logits: NDArray[np.float16],  # (N, C)
    labels: NDArray[np.int64],  # (N,)
    class_names: Sequence[str],
) -> tuple[Metrics, list[list[int]]]:
    """All metrics of the closed core set, and the confusion matrix (rows true, columns predicted).

    The logits must already be rounded to float16 (`to_float16`), so that whoever recomputes the metrics from the
    stored predictions starts from the same numbers.
    """
    _check(logits, labels, len(class_names))
    confusion = confusion_matrix(labels, logits.argmax(axis=1), len(class_names))
    return metrics_of(confusion, class_names, ece=calibration_error(logits, labels)), confusion.tolist()


def metrics_of(confusion: NDArray[np.int64], class_names: Sequence[str], ece: float) -> Metrics:
    """Every metric that follows from the confusion matrix, joined with the one that does not."""
    correct = np.diagonal(confusion)
    true = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    present = true > 0
    recall = correct[present] / true[present]
    # F1 = 2 TP / (2 TP + FP + FN); a class neither seen nor predicted counts as 0, as with zero_division=0
    f1 = 2 * correct / np.maximum(true + predicted, 1)
    shares = dict(zip(np.flatnonzero(present).tolist(), recall.tolist(), strict=True))
    return Metrics(
        accuracy=float(correct.sum() / true.sum()),
        balanced_accuracy=float(recall.mean()),
        macro_f1=float(f1.mean()),
        ece=ece,
        per_class_recall={name: shares.get(index) for index, name in enumerate(class_names)},
    )


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts: rows are true classes, columns predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def calibration_error(logits: NDArray[np.float16], labels: NDArray[np.int64]) -> float:
    """Expected calibration error of the largest softmax value over 15 bins of equal width, (lower, upper]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True).astype(np.float64)
    confidence = 1.0 / np.exp(shifted).sum(axis=1)
    # Rounding before the bin is chosen: exp differs in its last bit between machines, and a value on a border
    # (1/3 is one) must not change its bin for that.
    bins = np.clip(np.ceil(np.round(confidence * ECE_BINS, 9)).astype(np.int64) - 1, 0, ECE_BINS - 1)
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    gaps = np.bincount(bins, weights=correct, minlength=ECE_BINS) - np.bincount(
        bins, weights=confidence, minlength=ECE_BINS
    )
    return min(1.0, float(np.abs(gaps).sum() / len(labels)))


def _check(logits: NDArray[np.float16], labels: NDArray[np.int64], classes: int) -> None:
    if logits.dtype != np.float16:
        raise ValueError(f"logits are {logits.dtype}, not float16: round them with to_float16 first")
    if logits.ndim != 2 or logits.shape != (len(labels), classes):
        raise ValueError(f"logits of shape {logits.shape} for {len(labels)} labels and {classes} classes")
    if not len(labels):
        raise ValueError("there are no test images")
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, not within 0 to {classes - 1}")
