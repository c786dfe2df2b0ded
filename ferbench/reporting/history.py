"""Turn the rows of a history into charts; values of methods and heads may have any shape."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ferbench.contract.events import EpochRow
from ferbench.records.metrics import HEADLINES
from ferbench.render.escape import plain

MAX_ROWS = 200
MAX_CURVES = 12
MAX_METHOD_CHARTS = 24
LARGEST = 1e30  # above it an axis has no sensible ticks

EVALUATION_NOTE = (
    "Measured on the test set, only for the oracle, never for selection: the choice of the reported model is fixed "
    "before the run."
)
PSEUDO_LABEL_NOTE = (
    "Mask rate: share of unlabeled images whose pseudo-label is used. Precision: share of the used pseudo-labels that "
    "are right. Accuracy of all: share of all pseudo-labels that are right. The true labels are hidden from methods."
)


@dataclass(frozen=True)
class Chart:
    """Lines by name over the same steps, with None for missing values; the n-th line has the n-th colour.

    `stages` are the first steps and names of a run's stages, if it has several.
    """

    title: str
    steps: Sequence[int]
    curves: Mapping[str, Sequence[float | None]]
    axis: str = ""
    """The name of the value axis."""
    note: str = ""
    percent: bool = False
    wide: bool = False
    stages: Sequence[tuple[int, str]] = ()


def thinned(history: Sequence[EpochRow]) -> list[EpochRow]:
    """The rows, evenly thinned if there are more than a chart can show; the last row is kept."""
    if len(history) <= MAX_ROWS:
        return list(history)
    return [*history[: -1 : math.ceil(len(history) / MAX_ROWS)], history[-1]]


def charts(rows: Sequence[EpochRow], class_names: Sequence[str]) -> list[Chart]:
    """All charts of a history that have values, in the order of the report."""
    pseudo_labels = {
        "mask rate": [row.mask_rate for row in rows],
        "precision": [row.pseudo_label_precision for row in rows],
        "accuracy of all": [row.pseudo_label_accuracy for row in rows],
    }
    evaluated = [row for row in rows if row.evaluation is not None]
    evaluations = {metric.title: [(row.evaluation or {}).get(metric.key) for row in evaluated] for metric in HEADLINES}
    mask_rates = [row.mask_rate_per_class for row in rows]
    precisions = [row.pseudo_label_precision_per_class for row in rows]
    found = [
        _chart("Loss", rows, {"total": [row.loss for row in rows], **_parts(rows, "terms")}, axis="loss"),
        _chart("Learning rate", rows, {"learning rate": [row.learning_rate for row in rows]}, axis="rate"),
        _chart(
            "Test metrics at evaluations",
            evaluated,
            evaluations,
            axis="score on the test set",
            note=EVALUATION_NOTE,
            percent=True,
        ),
        _chart("Pseudo-labels", rows, pseudo_labels, axis="share of images", note=PSEUDO_LABEL_NOTE, percent=True),
        _per_class("Mask rate by pseudo-label", rows, mask_rates, class_names, axis="share that is used", percent=True),
        _per_class(
            "Precision by pseudo-label", rows, precisions, class_names, axis="share that is right", percent=True
        ),
        *_own_charts("method", rows, class_names),
        *_own_charts("head", rows, ()),
    ]
    stages = _stages(rows)
    return [
        replace(chart, stages=stages)
        for chart in found
        if any(value is not None for values in chart.curves.values() for value in values)
    ]


def last_values(rows: Sequence[Sequence[float | None] | None], count: int) -> list[float | None]:
    """The last row with `count` values, one per class; all None if there is no such row."""
    fitting = (list(values) for values in reversed(rows) if values is not None and len(values) == count)
    return next(fitting, [None] * count)


def number(value: Any) -> float | None:
    """The value as a float, or None if it is not a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        return None
    return float(value)


def _chart(title: str, rows: Sequence[EpochRow], series: Mapping[str, Sequence[Any]], **look: Any) -> Chart:
    curves = {label: [number(value) for value in values] for label, values in list(series.items())[:MAX_CURVES]}
    return Chart(title, [row.step for row in rows], curves, **look)


def _per_class(
    title: str, rows: Sequence[EpochRow], values: Sequence[Any], class_names: Sequence[str], **look: Any
) -> Chart:
    """One line per class if the lists have one value per class, otherwise numbered lines."""
    lists = [value if isinstance(value, list) else [] for value in values]
    longest = max(map(len, lists), default=0)
    labels = class_names if longest == len(class_names) else [str(index) for index in range(longest)]
    series = {label: [row[i] if i < len(row) else None for row in lists] for i, label in enumerate(labels)}
    note = f"Only the first {MAX_CURVES} of {longest} are shown." if longest > MAX_CURVES else ""
    return _chart(title, rows, series, note=note, wide=True, **look)


def _own_charts(part: str, rows: Sequence[EpochRow], class_names: Sequence[str]) -> Iterator[Chart]:
    """Charts of the values that a method or a head reports. Lines are numbered unless there is one per class name."""
    for name, values in list(_parts(rows, part).items())[:MAX_METHOD_CHARTS]:
        shown = plain(name.replace("_", " "), 60)
        title = f"{part.capitalize()}: {shown}"
        if any(isinstance(value, list) for value in values):
            yield _per_class(title, rows, values, class_names, axis=shown)
        else:
            yield _chart(title, rows, {name: values}, axis=shown)


def _parts(rows: Sequence[EpochRow], field: str) -> dict[str, list[Any]]:
    """The values of each name in a field of the rows, sorted by name: the order in JSON files has no meaning."""
    found = [getattr(row, field) or {} for row in rows]
    names = sorted({name for values in found for name in values})
    return {name: [values.get(name) for values in found] for name in names}


def _stages(rows: Sequence[EpochRow]) -> list[tuple[int, str]]:
    """First step and name of each stage: the step at the end of the previous epoch."""
    begins: dict[str, int] = {}
    for row, begin in zip(rows, [0, *(row.step for row in rows)], strict=False):
        begins.setdefault(row.stage, begin)
    return [(begin, name) for name, begin in begins.items()][:MAX_CURVES] if len(begins) > 1 else []
