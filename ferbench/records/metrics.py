"""The metrics: one table that schema, engine, checks, tables, reports and the command line use.

A run and its verification compute them with the same code. To add a metric, add an entry to `METRICS` and a test.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, create_model

from ferbench.contract.protocol import Headline
from ferbench.records.without_nulls import WithoutNulls
from ferbench.render.numbers import NONE

ECE_BINS = 15
FLOAT16_MAX = float(np.finfo(np.float16).max)

Place = Literal["tables", "compare", "report", "summary"]
"""Where metrics are shown: the leaderboard, `compare`, the page of a run, and the summary that `run` prints."""
EVERYWHERE: frozenset[Place] = frozenset(get_args(Place))


@dataclass(frozen=True, eq=False)
class Outcome:
    """The input of a metric. Logits and labels are None if there are no stored predictions."""

    confusion: NDArray[np.int64] | NDArray[np.float64]  # (C, C), rows are true classes, columns predicted
    logits: NDArray[np.float16] | None = None  # (N, C)
    labels: NDArray[np.int64] | None = None  # (N,)


@dataclass(frozen=True)
class Metric:
    """One number that says how good a model is on the test set."""

    key: str
    title: str
    description: str
    note: str
    """A few words below the number in a report."""
    compute: Callable[[Outcome], float]
    low: float = 0
    high: float = 1
    percent: bool = True
    """Whether it is shown in percent; otherwise it is shown as it is, with three decimals."""
    short: str = ""
    """A shorter title for narrow places; if empty, the title itself."""
    lower_is_better: bool = False
    needs_logits: bool = False
    """Whether the metric needs more than the confusion matrix."""
    stored_by_0_1: bool = False
    """Whether every record has it. Records of 0.1 lack the others, which are computed on demand."""
    shown: frozenset[Place] = EVERYWHERE
    dropped: int | None = None
    """A narrow terminal drops the column with the lowest number first; columns with None stay."""

    def of(self, outcome: Outcome) -> float | None:
        """The value; None if the metric needs logits and there are none."""
        return None if self.needs_logits and outcome.logits is None else self.compute(outcome)

    @property
    def short_title(self) -> str:
        """The title for narrow places."""
        return self.short or self.title

    def number(self, value: float, sign: str = "") -> str:
        """Return `81.2` for 0.812 if the metric is in percent, else `0.812`; `sign="+"` is for differences."""
        return f"{100 * value:{sign}.1f}" if self.percent else f"{value:{sign}.3f}"

    def text(self, value: float | None) -> str:
        """Return the number with its unit."""
        return NONE if value is None else f"{self.number(value)}{' %' if self.percent else ''}"


def _recalls(outcome: Outcome) -> NDArray[np.float64]:
    """Recall of each class that occurs in the test set."""
    true = outcome.confusion.sum(axis=1)
    recalls: NDArray[np.float64] = np.diagonal(outcome.confusion)[true > 0] / true[true > 0]
    return recalls


def _macro_f1(outcome: Outcome) -> float:
    counts = outcome.confusion.sum(axis=1) + outcome.confusion.sum(axis=0)
    # F1 = 2 TP / (2 TP + FP + FN); a class that is neither present nor predicted counts as 0, as with zero_division=0
    return float((2 * np.diagonal(outcome.confusion) / np.maximum(counts, 1)).mean())


def _cohens_kappa(outcome: Outcome) -> float:
    counts = outcome.confusion.astype(np.float64)
    observed, n = np.trace(counts), counts.sum()
    expected = counts.sum(axis=1) @ counts.sum(axis=0) / n
    # If labels and predictions all have one class, chance agreement is complete and kappa is defined as 0.
    return float((observed - expected) / (n - expected)) if expected < n else 0.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images in bins of equal width by their largest softmax value: number, confidence, correct ones; (B,) each."""

    images: NDArray[np.int64]
    confidence: NDArray[np.float64]  # summed over the images of a bin
    correct: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return min(1.0, float(np.abs(self.correct - self.confidence).sum() / self.images.sum()))


def calibration(logits: NDArray[np.float16], labels: NDArray[np.int64]) -> Calibration:
    """Sort logits (N, C) with labels (N,) into `ECE_BINS` bins."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True).astype(np.float64)
    confidence = 1.0 / np.exp(shifted).sum(axis=1)
    # Round before choosing the bin: exp differs in its last bit between machines, and a value on a border (such as
    # 1/3) must not change its bin because of that.
    bins = np.clip(np.ceil(np.round(confidence * ECE_BINS, 9)).astype(np.int64) - 1, 0, ECE_BINS - 1)
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    return Calibration(
        np.bincount(bins, minlength=ECE_BINS),
        np.bincount(bins, weights=confidence, minlength=ECE_BINS).astype(np.float64),
        np.bincount(bins, weights=correct, minlength=ECE_BINS).astype(np.float64),
    )


def _calibration_error(outcome: Outcome) -> float:
    assert outcome.logits is not None and outcome.labels is not None  # guaranteed by `needs_logits`
    return calibration(outcome.logits, outcome.labels).error


METRICS = (
    Metric(
        key="accuracy",
        title="accuracy",
        description="share of test images classified correctly",
        note="of all test images",
        compute=lambda outcome: float(np.trace(outcome.confusion) / outcome.confusion.sum()),
        stored_by_0_1=True,
    ),
    Metric(
        key="balanced_accuracy",
        title="balanced accuracy",
        short="balanced acc.",
        description="mean recall over the classes present in the test set",
        note="mean recall over the classes",
        compute=lambda outcome: float(_recalls(outcome).mean()),
        stored_by_0_1=True,
        dropped=50,
    ),
    Metric(
        key="macro_f1",
        title="macro-F1",
        description="mean F1 over all classes, 0 for a class without any case",
        note="mean F1 over the classes",
        compute=_macro_f1,
        stored_by_0_1=True,
        dropped=70,
    ),
    Metric(
        key="ece",
        title="ECE",
        description="expected calibration error of the largest softmax value, 15 bins of equal width",
        note="calibration error",
        compute=_calibration_error,
        lower_is_better=True,
        needs_logits=True,
        stored_by_0_1=True,
        shown=EVERYWHERE - {"summary"},
        dropped=40,
    ),
    Metric(
        key="kappa",
        title="Cohen's kappa",
        short="kappa",
        description="Cohen's kappa: agreement with the labels beyond chance; 0 is chance, negative is worse",
        note="agreement beyond chance",
        compute=_cohens_kappa,
        low=-1,
        percent=False,
        shown=EVERYWHERE - {"summary"},
        dropped=35,
    ),
    Metric(
        key="worst_class_recall",
        title="worst-class recall",
        short="worst recall",
        description="lowest recall over the classes present in the test set",
        note="lowest recall over the classes",
        compute=lambda outcome: float(_recalls(outcome).min()),
        shown=EVERYWHERE - {"summary"},
        dropped=45,
    ),
)
BY_KEY = {metric.key: metric for metric in METRICS}
HEADLINES = tuple(BY_KEY[key] for key in get_args(Headline))
"""The metrics that a protocol may order rows by, highest first; only these are computed during training."""


def shown_in(place: Place) -> tuple[Metric, ...]:
    """Return the metrics that are shown in one place, in the order of `METRICS`."""
    return tuple(metric for metric in METRICS if place in metric.shown)


def _fields(metrics: Iterable[Metric], at: str = "") -> dict[str, Any]:
    """Fields of a pydantic model, each with its range; fields that records of 0.1 lack are optional."""
    return {
        metric.key: (
            float if metric.stored_by_0_1 else float | None,
            Field(
                default=... if metric.stored_by_0_1 else None,
                ge=metric.low,
                le=metric.high,
                description=f"{metric.title} {at}" if at else metric.description,
            ),
        )
        for metric in metrics
    }


_Scores: Any = create_model("_Scores", __base__=WithoutNulls, **_fields(METRICS))
HeadlineScores: Any = create_model(
    "HeadlineScores", __base__=WithoutNulls, **_fields(HEADLINES, "at the evaluation with the best headline")
)


class Metrics(_Scores):
    """The scores of a model on the test set, each within the range of its metric."""

    if TYPE_CHECKING:  # the other fields are those of the table

        def __getattr__(self, key: str) -> Any: ...

    per_class_recall: dict[str, float | None] = Field(
        description="recall of each class by name; null if the test set has no image of the class"
    )


def to_float16(logits: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return logits as they are stored: rounded to float16 and clipped to its range; raises ValueError for NaN."""
    if np.isnan(logits).any():
        raise ValueError("logits contain NaN")
    rounded: NDArray[np.float16] = np.clip(logits, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
    return rounded


def evaluate(
    logits: NDArray[np.float16],  # (N, C)
    labels: NDArray[np.int64],  # (N,)
    class_names: Sequence[str],
) -> tuple[Metrics, list[list[int]]]:
    """Return every metric and the confusion matrix (rows are true classes, columns predicted ones)."""
    outcome = outcome_of(logits, labels, len(class_names))
    scores = {metric.key: metric.compute(outcome) for metric in METRICS}
    return Metrics(**scores, per_class_recall=recalls(outcome, class_names)), outcome.confusion.tolist()


def outcome_of(logits: NDArray[np.float16], labels: NDArray[np.int64], classes: int) -> Outcome:
    """Return the input of the metrics for these predictions; raises ValueError if they are not valid.

    The logits must already be rounded to float16 (`to_float16`), so that recomputing the metrics from the stored
    predictions starts from the same numbers.
    """
    _check(logits, labels, classes)
    return Outcome(confusion_matrix(labels, logits.argmax(axis=1), classes), logits, labels)


def completed(metrics: Metrics, outcome: Outcome | None) -> dict[str, float | None]:
    """Return each metric as recorded or, if the record is older than the metric, computed; None if neither works."""
    recorded = {metric: getattr(metrics, metric.key) for metric in METRICS}
    return {
        metric.key: metric.of(outcome) if value is None and outcome is not None else value
        for metric, value in recorded.items()
    }


def recalls(outcome: Outcome, class_names: Sequence[str]) -> dict[str, float | None]:
    """Return the recall of each class by name; None for a class without test images."""
    present = np.flatnonzero(outcome.confusion.sum(axis=1)).tolist()
    shares = dict(zip(present, _recalls(outcome).tolist(), strict=True))
    return {name: shares.get(index) for index, name in enumerate(class_names)}


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the counts (C, C): rows are true classes, columns predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _check(logits: NDArray[np.float16], labels: NDArray[np.int64], classes: int) -> None:
    if logits.dtype != np.float16:
        raise ValueError(f"logits are {logits.dtype}, not float16: round them with to_float16 first")
    if logits.ndim != 2 or logits.shape != (len(labels), classes):
        raise ValueError(f"logits have shape {logits.shape}, but there are {len(labels)} labels and {classes} classes")
    if not len(labels):
        raise ValueError("there are no test images")
    if not np.isfinite(logits).all():
        raise ValueError("logits contain NaN or infinity")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}, but they are from {labels.min()} to {labels.max()}")
