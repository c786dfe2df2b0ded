"""From the rows of a history to what is drawn of it; a row is a stranger's, so every value may be missing or odd."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferbench.records.metrics import HEADLINES
from ferbench.render.escape import plain

Row = Mapping[str, Any]

MAX_ROWS = 200
MAX_CURVES = 12
MAX_METHOD_CHARTS = 24
LARGEST = 1e30  # beyond it an axis has no sensible ticks
LABEL = 18
STAGE_LABEL = 14

EVALUATION_NOTE = (
    "Measured on the test set for the oracle only, never for selection: the reported model is fixed before the run."
)
PSEUDO_LABEL_NOTE = (
    "Mask rate: the share of unlabeled images whose pseudo-label is used. Precision: how many of these are right; "
    "accuracy of all: how many are, used or not. Judged by labels that no method sees."
)


@dataclass(frozen=True)
class Curve:
    """One line: a value for each step, None where there is none. `color` is the place in the palette."""

    label: str
    steps: tuple[float, ...]
    values: tuple[float | None, ...]
    color: int


@dataclass(frozen=True)
class Chart:
    """Lines that share their axes; `stages` are the first steps of a run's stages, if it has several."""

    title: str
    curves: tuple[Curve, ...]
    note: str = ""
    percent: bool = False
    wide: bool = False
    stages: tuple[tuple[float, str], ...] = ()


def usable_rows(history: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows with a step, thinned evenly where there are more than a chart can show; the last one stays."""
    rows = [row for row in history if (step := number(row.get("step"))) is not None and step >= 0]
    if len(rows) <= MAX_ROWS:
        return rows
    return rows[: -1 : math.ceil(len(rows) / MAX_ROWS)] + rows[-1:]


def charts(rows: Sequence[Row], class_names: Sequence[str]) -> list[Chart]:
    """Everything in a history that can be drawn, in the order of the report."""
    if not rows:
        return []
    evaluated = [row for row in rows if isinstance(row.get("evaluation"), Mapping)]
    stages = _stages(rows)
    found = [
        Chart(
            "Loss", _named(rows, [("total", ("loss",)), *((name, ("terms", name)) for name in _keys(rows, "terms"))])
        ),
        Chart("Learning rate", _named(rows, [("learning rate", ("learning_rate",))])),
        Chart(
            "Test metrics at evaluations",
            _named(evaluated, [(metric.title, ("evaluation", metric.key)) for metric in HEADLINES]),
            EVALUATION_NOTE,
            percent=True,
        ),
        Chart(
            "Pseudo-labels",
            _named(
                rows,
                [
                    ("mask rate", ("mask_rate",)),
                    ("precision", ("pseudo_label_precision",)),
                    ("accuracy of all", ("pseudo_label_accuracy",)),
                ],
            ),
            PSEUDO_LABEL_NOTE,
            percent=True,
        ),
        _per_class("Mask rate by pseudo-label", rows, ("mask_rate_per_class",), class_names, percent=True),
        _per_class("Precision by pseudo-label", rows, ("pseudo_label_precision_per_class",), class_names, percent=True),
        *(_own_chart("method", name, rows, class_names) for name in _keys(rows, "method")[:MAX_METHOD_CHARTS]),
        *(_own_chart("head", name, rows, ()) for name in _keys(rows, "head")[:MAX_METHOD_CHARTS]),
    ]
    return [_with_stages(chart, stages) for chart in found if any(_has_value(curve) for curve in chart.curves)]


def last_values(rows: Sequence[Row], key: str, count: int) -> list[float | None] | None:
    """A per-class list of the last epoch that has one of this length; None if no epoch has."""
    for row in reversed(rows):
        values = row.get(key)
        if isinstance(values, list) and len(values) == count:
            return [number(value) for value in values]
    return None


def number(value: Any) -> float | None:
    """The value if it is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        return None
    return float(value)


def _named(rows: Sequence[Row], paths: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[Curve, ...]:
    steps = _steps(rows)
    return tuple(
        Curve(plain(label, LABEL), steps, tuple(number(_at(row, path)) for row in rows), color)
        for color, (label, path) in enumerate(list(paths)[:MAX_CURVES])
    )


def _per_class(
    title: str, rows: Sequence[Row], path: tuple[str, ...], class_names: Sequence[str], *, percent: bool = False
) -> Chart:
    """One line per class where the lists are as long as there are classes, else numbered lines."""
    lists = [value if isinstance(value := _at(row, path), list) else [] for row in rows]
    longest = max(map(len, lists), default=0)
    labels = class_names if longest == len(class_names) else [str(index) for index in range(longest)]
    steps = _steps(rows)
    curves = tuple(
        Curve(
            plain(label, LABEL),
            steps,
            tuple(number(values[index]) if index < len(values) else None for values in lists),
            index,
        )
        for index, label in enumerate(labels[:MAX_CURVES])
    )
    note = f"The first {MAX_CURVES} of {longest}." if longest > MAX_CURVES else ""
    return Chart(title, curves, note, percent=percent, wide=True)


def _own_chart(part: str, name: str, rows: Sequence[Row], class_names: Sequence[str]) -> Chart:
    """What a method or a head shows of itself; the lists of a head are numbered, whatever their length."""
    title = f"{part.capitalize()}: {plain(name.replace('_', ' '), 60)}"
    if any(isinstance(_at(row, (part, name)), list) for row in rows):
        return _per_class(title, rows, (part, name), class_names)
    return Chart(title, _named(rows, [(name, (part, name))]))


def _with_stages(chart: Chart, stages: tuple[tuple[float, str], ...]) -> Chart:
    return Chart(chart.title, chart.curves, chart.note, chart.percent, chart.wide, stages)


def _stages(rows: Sequence[Row]) -> tuple[tuple[float, str], ...]:
    """Where each stage begins: at the end of the epoch before its first."""
    found: list[tuple[float, str]] = []
    previous, end = None, 0.0
    for row, step in zip(rows, _steps(rows), strict=True):
        if row.get("stage") != previous:
            previous = row.get("stage")
            found.append((end, plain(str(previous), STAGE_LABEL)))
        end = step
    return tuple(found[:MAX_CURVES]) if len(found) > 1 else ()


def _keys(rows: Sequence[Row], part: str) -> list[str]:
    """The names in one part of the rows, sorted: JSON files keep no order that means anything."""
    return sorted({name for row in rows if isinstance(row.get(part), Mapping) for name in row[part]})


def _at(row: Row, path: tuple[str, ...]) -> Any:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _steps(rows: Sequence[Row]) -> tuple[float, ...]:
    return tuple(number(row.get("step")) or 0.0 for row in rows)


def _has_value(curve: Curve) -> bool:
    return any(value is not None for value in curve.values)
