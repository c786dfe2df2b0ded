"""The class that a model predicts for each test image, read from the predictions next to records."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import VerificationError
from ferbench.records.cell import canonical_json
from ferbench.records.metrics import Metric, Outcome, confusion_matrix, outcome_of
from ferbench.records.store import PREDICTIONS, read_predictions

STEP = 1e-3
"""Fraction of an image by which the infinitesimal jackknife changes a count."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The true and the predicted class of each test image, sorted by image id."""

    images: str
    """SHA-256 of the ids and labels: equal for answers about the same images."""
    labels: NDArray[np.int64]  # (M,)
    chosen: NDArray[np.int64]  # (M,)
    classes: int

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which images the model got right, (M,)."""
        right: NDArray[np.bool_] = self.labels == self.chosen
        return right

    def parts(self, metric: Metric) -> NDArray[np.float64] | None:
        """Each image's contribution to a metric, (M,): their mean is the metric, their variance / M its variance.

        For accuracy they are 1 or 0. For other functions of the confusion matrix they come from the infinitesimal
        jackknife (Efron 1982): the metric plus M times its derivative with respect to the weight of the image. None if
        the metric needs logits.
        """
        if metric.needs_logits:
            return None
        confusion = confusion_matrix(self.labels, self.chosen, self.classes).astype(np.float64)
        derivative = np.zeros_like(confusion)
        for cell in zip(*np.nonzero(confusion), strict=True):
            change = np.zeros_like(confusion)
            change[cell] = STEP
            more, less = (metric.compute(Outcome(counts)) for counts in (confusion + change, confusion - change))
            derivative[cell] = (more - less) / (2 * STEP)
        influence: NDArray[np.float64] = len(self.labels) * derivative[self.labels, self.chosen]
        return metric.compute(Outcome(confusion)) + influence


class AnswerBook:
    """The answers behind the rows of a frame, each file read once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Answers | None] = {}
        self._parts: dict[tuple[str, str, str], NDArray[np.float64] | None] = {}

    def answers(self, cell: Mapping[str, Any]) -> Answers | None:
        """The answers of a row of a frame; None if its predictions are missing or are not those of the record."""
        if cell["path"] is None or cell["predictions_digest"] is None:
            return None
        key = (cell["path"], cell["predictions_digest"])
        if key not in self._answers:
            self._answers[key] = _read(*key)
        return self._answers[key]

    def parts(self, cell: Mapping[str, Any], metric: Metric) -> NDArray[np.float64] | None:
        """Each test image's contribution to a metric of a row (`Answers.parts`)."""
        answers = self.answers(cell)
        if answers is None:
            return None
        key = (cell["path"], cell["predictions_digest"], metric.key)
        if key not in self._parts:
            self._parts[key] = answers.parts(metric)
        return self._parts[key]


def _read(record: str, digest: str) -> Answers | None:
    try:
        predictions = read_predictions(Path(record).parent / PREDICTIONS)
        classes = predictions.logits.shape[1]
        outcome_of(predictions.logits, predictions.labels, classes)
    except (VerificationError, ValueError):
        return None
    if predictions.digest() != digest:
        return None
    order = sorted(range(len(predictions.ids)), key=predictions.ids.__getitem__)
    labels, chosen = predictions.labels[order], predictions.logits.argmax(axis=1)[order]
    sha = hashlib.sha256(canonical_json(sorted(predictions.ids)))
    sha.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return Answers(sha.hexdigest(), labels, chosen, classes)
