from pathlib import Path

import numpy as np
import pytest

from ferbench.records.answers import AnswerBook, Answers
from ferbench.records.frame import frame_of, rows_of
from ferbench.records.metrics import BY_KEY, METRICS, Outcome, confusion_matrix
from ferbench.records.predictions import Predictions
from ferbench.records.store import PREDICTIONS, read_record
from tests.unit.records.factory import make_cell, write_record


def cell_of(path):
    (cell,) = rows_of(frame_of([read_record(path)], [path]))
    return cell


def answers(seed=0, images=300, classes=4):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    chosen = np.where(random.uniform(size=images) < 0.6, labels, random.integers(0, classes, images))
    return Answers("images", labels, chosen, classes)


def test_the_parts_of_accuracy_are_right_and_wrong():
    made = answers()
    assert made.parts(BY_KEY["accuracy"]) == pytest.approx(made.right.astype(float), abs=1e-9)


def test_the_parts_of_balanced_accuracy_are_known_in_closed_form():
    made = answers()
    counts = np.bincount(made.labels)
    recalls = np.bincount(made.labels, weights=made.right) / counts
    influence = len(made.labels) / (4 * counts[made.labels]) * (made.right - recalls[made.labels])
    assert made.parts(BY_KEY["balanced_accuracy"]) == pytest.approx(recalls.mean() + influence, abs=1e-6)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if not metric.needs_logits], ids=lambda m: m.key)
def test_parts_have_the_mean_of_the_metric_and_the_variance_of_the_bootstrap(metric):
    made = answers(images=1200)
    parts = made.parts(metric)
    whole = metric.compute(Outcome(confusion_matrix(made.labels, made.chosen, 4)))
    assert parts.mean() == pytest.approx(whole, abs=1e-9)
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(1500):
        again = random.integers(0, 1200, 1200)
        drawn.append(metric.compute(Outcome(confusion_matrix(made.labels[again], made.chosen[again], 4))))
    if metric.key != "worst_class_recall":  # a minimum is not smooth: a resample may have another worst class
        assert parts.std() / np.sqrt(1200) == pytest.approx(np.std(drawn), rel=0.08)


def test_a_metric_of_logits_has_no_parts():
    assert answers().parts(BY_KEY["ece"]) is None


def test_the_order_of_the_images_does_not_matter(tmp_path):
    path = write_record(tmp_path, make_cell())
    cell = cell_of(path)
    first = AnswerBook().answers(cell)
    stored = Predictions.from_parquet((path.parent / PREDICTIONS).read_bytes())
    turned = Predictions(stored.ids[::-1], stored.labels[::-1], stored.logits[::-1])
    (path.parent / PREDICTIONS).write_bytes(turned.to_parquet())
    again = AnswerBook().answers({**cell, "predictions_digest": turned.digest()})
    assert again.images == first.images
    assert (again.labels.tolist(), again.chosen.tolist()) == (first.labels.tolist(), first.chosen.tolist())
    assert first.right.mean() == pytest.approx(cell["accuracy"])


def test_predictions_that_are_missing_changed_or_no_predictions_give_no_answers(tmp_path):
    path = write_record(tmp_path, make_cell())
    cell = cell_of(path)
    file = Path(path).parent / PREDICTIONS
    for content in (b"no parquet", (write_record(tmp_path, make_cell(seed=1)).parent / PREDICTIONS).read_bytes()):
        file.write_bytes(content)
        assert AnswerBook().answers(cell) is None
    file.unlink()
    assert AnswerBook().parts(cell, BY_KEY["accuracy"]) is None
    assert AnswerBook().answers({**cell, "path": None}) is None


def test_each_file_is_read_once(tmp_path):
    path = write_record(tmp_path, make_cell())
    cell, book = cell_of(path), AnswerBook()
    parts = book.parts(cell, BY_KEY["macro_f1"])
    (path.parent / PREDICTIONS).unlink()
    assert book.parts(cell, BY_KEY["macro_f1"]) is parts
    assert book.answers(cell) is not None
