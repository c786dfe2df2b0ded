"""Labels joined after training, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_score

from ferbench.execution.join import precision


def test_precision_of_pseudo_labels_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 4, 500)  # -1 where nobody knows
    number, pseudo = rng.integers(0, 500, 2000), rng.integers(0, 4, 2000)
    mask = (rng.random(2000) < 0.4).astype(np.float32)
    said = {"number": number.astype(np.int32), "pseudo_label": pseudo.astype(np.int16), "mask": mask}
    found = precision(said, truth, 4)
    true = truth[number]
    known, used = true >= 0, mask > 0
    assert found["pseudo_label_accuracy"] == pytest.approx(accuracy_score(true[known], pseudo[known]))
    both = known & used
    assert found["pseudo_label_precision"] == pytest.approx(accuracy_score(true[both], pseudo[both]))
    expected = precision_score(true[both], pseudo[both], labels=range(4), average=None, zero_division=0)
    assert found["pseudo_label_precision_per_class"] == pytest.approx(list(expected))


def test_soft_masks_are_weights() -> None:
    said = {"number": np.arange(3), "pseudo_label": np.array([0, 0, 1]), "mask": np.array([0.9, 0.1, 0.5])}
    found = precision(said, np.array([0, 1, 1]), 2)
    assert found["pseudo_label_precision_per_class"] == pytest.approx([0.9, 1.0])
    assert found["pseudo_label_precision"] == pytest.approx(1.4 / 1.5)


def test_where_no_truth_is_known_there_is_no_precision() -> None:
    said = {"number": np.arange(3), "pseudo_label": np.zeros(3, np.int16), "mask": np.ones(3)}
    for truth in (None, np.full(3, -1)):
        assert precision(said, truth, 2) == {
            "pseudo_label_precision": None,
            "pseudo_label_precision_per_class": [None, None],
            "pseudo_label_accuracy": None,
        }


def test_a_class_without_pseudo_labels_has_no_precision() -> None:
    said = {"number": np.arange(2), "pseudo_label": np.zeros(2, np.int16), "mask": np.zeros(2)}
    assert precision(said, np.zeros(2, np.int64), 2)["pseudo_label_precision_per_class"] == [None, None]
