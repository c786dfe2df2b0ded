"""What is drawn of a history, also of one that a stranger made."""

from typing import Any

import pytest

from ferbench.reporting.history import MAX_CURVES, MAX_ROWS, Chart, charts, last_values, number, usable_rows
from tests.unit.records.factory import CLASS_NAMES
from tests.unit.reporting.samples import full_history


def by_title(history: list[dict[str, Any]], names: list[str] = CLASS_NAMES) -> dict[str, Chart]:
    return {chart.title: chart for chart in charts(usable_rows(history), names)}


def test_everything_in_a_history_is_drawn() -> None:
    found = by_title(full_history())
    assert list(found) == [
        "Loss",
        "Learning rate",
        "Test metrics at evaluations",
        "Pseudo-labels",
        "Mask rate by pseudo-label",
        "Precision by pseudo-label",
        "Method: gate usage",
        "Method: margin",
        "Method: temperature",
    ]
    assert [curve.label for curve in found["Loss"].curves] == ["total", "supervised", "unlabeled"]
    assert found["Test metrics at evaluations"].curves[0].steps == (40.0, 80.0, 120.0, 160.0, 200.0)
    assert "never for selection" in found["Test metrics at evaluations"].note
    assert found["Loss"].stages == ((0.0, "pretrain"), (50.0, "train"))


def test_a_list_as_long_as_the_classes_is_named_after_them_and_another_is_numbered() -> None:
    found = by_title(full_history())
    assert [curve.label for curve in found["Method: margin"].curves] == CLASS_NAMES
    assert [curve.label for curve in found["Method: gate usage"].curves] == ["0", "1"]
    assert found["Method: margin"].curves[3].color == found["Mask rate by pseudo-label"].curves[3].color


def test_without_class_names_lists_are_numbered() -> None:
    assert [curve.label for curve in by_title(full_history(), [])["Method: margin"].curves][:2] == ["0", "1"]


def test_what_a_supervised_run_lacks_gets_no_chart() -> None:
    history = [{"step": 5, "loss": 1.0, "terms": {"supervised": 1.0}, "learning_rate": 0.1, "method": {}}]
    assert list(by_title(history)) == ["Loss", "Learning rate"]


def test_long_lists_are_cut_and_the_note_says_so() -> None:
    chart = by_title([{"step": 1, "method": {"bank": [0.5] * 40}}])["Method: bank"]
    assert len(chart.curves) == MAX_CURVES
    assert "of 40" in chart.note


def test_many_rows_are_thinned_and_the_last_one_stays() -> None:
    rows = usable_rows([{"step": step} for step in range(5000)])
    assert len(rows) <= MAX_ROWS + 1
    assert rows[0]["step"] == 0
    assert rows[-1]["step"] == 4999


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"step": "<b>"},
        {"step": None},
        {"step": -1, "loss": 1},
        {"step": 1, "loss": "nan", "terms": [1], "method": 3, "evaluation": "x"},
        {"step": 1, "loss": {"a": 1}, "terms": {"a": [1], "b": None}, "mask_rate_per_class": "abc"},
        {"step": 1, "loss": 10**400, "learning_rate": True, "stage": {"x": []}},
        {"step": 1, "method": {"a": [[1], None, "x"]}},
    ],
)
def test_odd_rows_are_left_out(row: dict[str, Any]) -> None:
    assert charts(usable_rows([row]), CLASS_NAMES) == []


def test_numbers() -> None:
    assert number(3) == 3.0
    assert [number(value) for value in (True, "1", None, 1e300, float("nan"), float("inf"))] == [None] * 6


def test_the_last_epoch_with_a_list_of_this_length_counts() -> None:
    rows = [{"step": 1, "x": [1.0, None]}, {"step": 2, "x": [1.0]}, {"step": 3}]
    assert last_values(rows, "x", 2) == [1.0, None]
    assert last_values(rows, "x", 3) is None
