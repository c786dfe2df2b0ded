from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    recall_score,
)

from ferbench.contract.protocol import Headline
from ferbench.records import metrics as table
from ferbench.records.metrics import BY_KEY, METRICS, Metrics, completed, evaluate, outcome_of, shown_in, to_float16
from ferbench.records.schema import Oracle

NAMES = ["neutral", "happiness", "sadness", "surprise", "fear"]


def random_case(seed, present):
    random = np.random.default_rng(seed)
    labels = random.choice(present, size=int(random.integers(1, 200))).astype(np.int64)
    return to_float16(random.normal(size=(len(labels), len(NAMES))) * 3), labels


@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [0, 2, 4], [3]], ids=["all", "some", "one"])
@pytest.mark.parametrize("seed", range(5))
# sklearn warns that a class is predicted that no image has; that is what is tested
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_metrics_are_those_of_scikit_learn(seed, present):
    logits, labels = random_case(seed, present)
    predicted = logits.argmax(axis=1)
    metrics, confusion = evaluate(logits, labels, NAMES)
    every = list(range(len(NAMES)))
    assert metrics.accuracy == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12)
    macro = f1_score(labels, predicted, labels=every, average="macro", zero_division=0)
    assert metrics.macro_f1 == pytest.approx(macro, abs=1e-12)
    assert confusion == confusion_matrix(labels, predicted, labels=every).tolist()
    recalls = recall_score(labels, predicted, labels=every, average=None, zero_division=0)
    for index, name in enumerate(NAMES):
        recall = metrics.per_class_recall[name]
        assert (recall is None) if index not in labels else (recall == pytest.approx(recalls[index], abs=1e-12))


def logits_of(*confidences):
    """Two classes; the softmax of the first is the confidence."""
    return np.array([[np.log(p / (1 - p)), 0.0] for p in confidences]).astype(np.float16)


def test_calibration_error_by_hand():
    # bins of width 1/15: 0.9 and 0.92 share (13/15, 14/15], 0.7 is in (10/15, 11/15]
    logits = logits_of(0.9, 0.92, 0.7)
    confidence = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    metrics, _ = evaluate(logits, np.array([0, 1, 0]), ["a", "b"])
    expected = (abs(1 - confidence[0] - confidence[1]) + abs(1 - confidence[2])) / 3
    assert metrics.ece == pytest.approx(expected, abs=1e-12)


def test_a_confidence_on_a_border_belongs_to_the_lower_bin():
    uniform = np.zeros((2, 3), np.float16)  # 1/3 is 5/15
    just_above = np.array([[0.01, 0.0, 0.0]], np.float16)
    metrics, _ = evaluate(np.concatenate([uniform, just_above]), np.array([0, 1, 1]), ["a", "b", "c"])
    high = 1 / (1 + 2 * np.exp(-float(just_above[0, 0])))
    assert metrics.ece == pytest.approx((abs(1 - 2 / 3) + high) / 3, abs=1e-12)


def test_a_perfect_and_certain_model():
    logits = np.eye(5, dtype=np.float16) * np.float16(100)
    metrics, confusion = evaluate(logits, np.arange(5), NAMES)
    assert (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1) == (1, 1, 1)
    assert metrics.ece == pytest.approx(0)
    assert confusion == np.eye(5, dtype=int).tolist()


def test_to_float16_holds_large_values_at_the_limit():
    assert to_float16(np.array([[1e9, -1e9]])).tolist() == [[65504.0, -65504.0]]
    with pytest.raises(ValueError, match="NaN"):
        to_float16(np.array([[np.nan, 0.0]]))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 5), np.float32), [0, 1], "float32"),
        (np.zeros((2, 4), np.float16), [0, 1], "shape"),
        (np.zeros((0, 5), np.float16), [], "no test images"),
        (np.full((1, 5), np.inf, np.float16), [0], "infinity"),
        (np.zeros((1, 5), np.float16), [5], "labels"),
        (np.zeros((1, 5), np.float16), [-1], "labels"),
    ],
)
def test_wrong_input_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(logits, np.array(labels, np.int64), NAMES)


@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [0, 2, 4], [3]], ids=["all", "some", "one"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_kappa_and_worst_class_recall_are_those_of_scikit_learn(seed, present):
    logits, labels = random_case(seed, present)
    predicted = logits.argmax(axis=1)
    metrics, _ = evaluate(logits, labels, NAMES)
    assert metrics.kappa == pytest.approx(cohen_kappa_score(labels, predicted), abs=1e-12)
    recalls = recall_score(labels, predicted, labels=np.unique(labels), average=None)
    assert metrics.worst_class_recall == pytest.approx(recalls.min(), abs=1e-12)


def test_kappa_of_a_model_that_is_always_wrong_is_negative_and_of_one_class_alone_0():
    logits = np.eye(2, dtype=np.float16)
    metrics, _ = evaluate(logits, np.array([1, 0]), ["a", "b"])
    assert (metrics.kappa, metrics.worst_class_recall) == (-1, 0)
    metrics, _ = evaluate(logits[:1], np.array([0]), ["a", "b"])
    assert (metrics.kappa, metrics.worst_class_recall) == (0, 1)


# The table


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
def test_every_entry_is_whole(metric):
    assert metric.title and metric.description and metric.note
    assert metric.low < metric.high
    assert (metric.low, metric.high) == (0, 1) or not metric.percent
    names = [other.short_title.lower() for other in METRICS]
    assert names.count(metric.short_title.lower()) == 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
def test_a_record_takes_values_within_the_range_of_the_metric_alone(metric):
    metrics, _ = evaluate(*random_case(0, [0, 1, 2]), NAMES)
    fields = metrics.model_dump()
    for value in (metric.low, metric.high):
        assert getattr(Metrics.model_validate({**fields, metric.key: float(value)}), metric.key) == value
    for value in (metric.low - 1e-9, metric.high + 1e-9):
        with pytest.raises(ValidationError, match=metric.key):
            Metrics.model_validate({**fields, metric.key: value})


def test_headlines_are_metrics_that_every_record_has_and_whose_highest_value_is_the_best():
    able = {metric.key for metric in METRICS if metric.stored_by_0_1 and not metric.lower_is_better}
    assert set(get_args(Headline)) <= able
    assert set(Oracle.model_fields) == {*get_args(Headline), "step", "evaluations"}


def test_a_record_of_0_1_gains_no_nulls():
    kept = {metric.key for metric in METRICS if metric.stored_by_0_1} | {"per_class_recall"}
    metrics, _ = evaluate(*random_case(1, [0, 2]), NAMES)
    old = {name: value for name, value in metrics.model_dump().items() if name in kept}
    assert Metrics.model_validate(old).model_dump() == old
    assert None in old["per_class_recall"].values()


@pytest.fixture
def younger(monkeypatch):
    """The calibration error as if no record had it yet."""
    metric = replace(BY_KEY["ece"], key="younger")
    monkeypatch.setattr(table, "METRICS", (metric,))
    monkeypatch.setattr(Metrics, "younger", None, raising=False)
    return metric


def test_what_a_record_lacks_is_computed_from_what_lies_beside_it(younger):
    logits, labels = random_case(2, [0, 1, 2])
    metrics = Metrics.model_construct()
    outcome = outcome_of(logits, labels, len(NAMES))
    assert completed(metrics, outcome) == {"younger": younger.compute(outcome)}
    assert completed(metrics, replace(outcome, logits=None)) == {"younger": None}
    assert completed(metrics, None) == {"younger": None}


def test_each_place_shows_the_metrics_in_the_order_of_the_table():
    assert [metric.key for metric in shown_in("summary")][:3] == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert list(shown_in("tables")) == [metric for metric in METRICS if "tables" in metric.shown]
