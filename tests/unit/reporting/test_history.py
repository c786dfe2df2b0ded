"""What is drawn of a history, also of one that a stranger made."""

from typing import Any

import pytest

from ferbench.contract.events import EpochRow
from ferbench.reporting.history import MAX_CURVES, MAX_ROWS, Chart, charts, last_values, number, thinned
from tests.unit.records.factory import CLASS_NAMES, make_row
from tests.unit.reporting.samples import full_history


def by_title(history: list[EpochRow], names: list[str] = CLASS_NAMES) -> dict[str, Chart]:
    return {chart.title: chart for chart in charts(thinned(history), names)}


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
    assert list(found["Loss"].curves) == ["total", "supervised", "unlabeled"]
    assert found["Test metrics at evaluations"].steps == [40, 80, 120, 160, 200]
    assert "never for selection" in found["Test metrics at evaluations"].note
    assert found["Loss"].stages == [(0, "pretrain"), (50, "train")]


def test_a_list_as_long_as_the_classes_is_named_after_them_and_another_is_numbered() -> None:
    found = by_title(full_history())
    assert list(found["Method: margin"].curves) == CLASS_NAMES
    assert list(found["Method: gate usage"].curves) == ["0", "1"]
    assert list(found["Mask rate by pseudo-label"].curves) == CLASS_NAMES


def test_without_class_names_lists_are_numbered() -> None:
    assert list(by_title(full_history(), [])["Method: margin"].curves)[:2] == ["0", "1"]


def test_what_a_supervised_run_lacks_gets_no_chart() -> None:
    assert list(by_title([make_row()])) == ["Loss", "Learning rate"]
    assert charts([], CLASS_NAMES) == []


def test_long_lists_are_cut_and_the_note_says_so() -> None:
    chart = by_title([make_row(method={"bank": [0.5] * 40})])["Method: bank"]
    assert len(chart.curves) == MAX_CURVES
    assert "of 40" in chart.note


def test_many_rows_are_thinned_and_the_last_one_stays() -> None:
    rows = thinned([make_row(epoch) for epoch in range(1, 5001)])
    assert len(rows) <= MAX_ROWS + 1
    assert (rows[0].epoch, rows[-1].epoch) == (1, 5000)


@pytest.mark.parametrize(
    "value", [True, "x", None, 10**400, 1e300, {"a": 1}, [[1], None, "x"], [], [{"x": []}]], ids=str
)
def test_what_is_no_number_is_not_drawn(value: Any) -> None:
    assert list(by_title([make_row(method={"own": value}, head={"own": value})])) == ["Loss", "Learning rate"]


def test_numbers() -> None:
    assert number(3) == 3.0
    assert [number(value) for value in (True, "1", None, 1e300, float("nan"), float("inf"))] == [None] * 6


def test_the_last_epoch_with_a_list_of_this_length_counts() -> None:
    assert last_values([[1.0, None], [1.0], None], 2) == [1.0, None]
    assert last_values([[1.0, None], [1.0], None], 3) == [None, None, None]
