"""Numbers as people read them."""

import pytest

from ferbench.records.metrics import METRICS, Metrics
from ferbench.records.schema import Measured, Result
from ferbench.render.html import typed
from ferbench.render.numbers import NONE, grouped, percent, sentence_case
from ferbench.reporting.tables import class_rows, headline, measured_fields
from tests.unit.records.factory import CLASS_NAMES, make_cell, make_predictions, make_result, make_row


@pytest.fixture
def result() -> Result:
    return make_result(make_cell(), make_predictions(), [])


def test_class_rows_are_those_of_the_metrics(result: Result) -> None:
    rows = class_rows(result, result.confusion, [make_row(mask_rate_per_class=[0.5, None, 0, 0, 0, 0, 1])])
    assert [row["Class"] for row in rows] == CLASS_NAMES
    assert [row["Recall"] for row in rows] == [percent(result.metrics.per_class_recall[name]) for name in CLASS_NAMES]
    assert [row["Labeled"] for row in rows] == ["10"] * 7
    assert [row["Mask rate"] for row in rows][:3] == ["50.0 %", NONE, "0.0 %"]
    assert rows[0]["Pseudo-label precision"] == NONE


def test_large_numbers_are_all_metrics_the_headline_first(result: Result) -> None:
    numbers = headline(result, "macro_f1")
    titles = ["Macro-F1", *(sentence_case(metric.title) for metric in METRICS if metric.key != "macro_f1")]
    assert [number.name for number in numbers] == titles
    assert numbers[0].value == percent(result.metrics.macro_f1)
    assert [number.note for number in numbers if "lower is better" in number.note] == [
        "calibration error, lower is better"
    ]


def test_a_metric_that_an_old_record_lacks_is_computed_for_the_report(result: Result) -> None:
    old = result.metrics.model_dump(exclude={metric.key for metric in METRICS if not metric.stored_by_0_1})
    assert headline(result.model_copy(update={"metrics": Metrics(**old)}), "accuracy") == headline(result, "accuracy")


def test_a_class_that_is_neither_there_nor_predicted_has_dashes() -> None:
    result = make_result(make_cell(), make_predictions(), []).model_copy(update={"class_names": ["a", "b"]})
    rows = class_rows(result, [[3, 0], [0, 0]], [])
    assert tuple(rows[1].values())[3:] == (NONE, NONE, NONE)
    assert tuple(rows[0].values())[3:] == ("100.0 %",) * 3


def test_units(result: Result) -> None:
    measured = Measured(started_at="now", wall_seconds=7200, train_seconds=120, cpu_seconds=3, peak_memory_bytes=2**30)
    found = measured_fields(measured, result)
    assert (found["time"], found["time in training steps"], found["processor time"]) == ("2.0 h", "2.0 min", "3.0 s")
    assert found["peak memory"] == "1\u202f024 MiB"
    assert found["parameters of the net"] == "1\u202f234\u202f567"
    assert "host" not in found
    assert "parameters of the net" not in measured_fields(measured, None)


def test_words() -> None:
    assert (percent(0.8125), percent(None), grouped(1234.4)) == ("81.2 %", NONE, "1\u202f234")
    assert (typed("a"), typed(None), typed(True), typed([1])) == ("a", NONE, "true", "[1]")
