"""The calibration curve against scikit-learn's, and the map of test images."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy.special import softmax

from ferbench.records.metrics import ECE_BINS, calibration
from ferbench.reporting.calibration import calibration_words, reliability_plot
from tests.unit.records.factory import make_predictions


def test_bins_are_those_of_scikit_learn() -> None:
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    said = make_predictions(n_test=3000)
    found = calibration(said.logits, said.labels)
    shares = softmax(said.logits.astype(np.float64), axis=1)
    right, confidence = shares.argmax(axis=1) == said.labels, shares.max(axis=1)
    accuracy, mean = curve(right, confidence, n_bins=ECE_BINS)
    there = found.images > 0
    np.testing.assert_allclose(found.correct[there] / found.images[there], accuracy)
    np.testing.assert_allclose(found.confidence[there] / found.images[there], mean)
    assert found.images.sum() == 3000


def test_the_plot_is_xml_also_where_all_is_right() -> None:
    for skill in (0.0, 30.0):
        plot = reliability_plot(make_predictions(skill=skill))
        words = {element.text for element in ElementTree.fromstring(plot).iter("{http://www.w3.org/2000/svg}text")}
        assert {"Calibration", "accuracy", "images", "confidence, the highest probability"} <= words


def test_words_say_which_way_it_is_off() -> None:
    sure = make_predictions(skill=0.0)
    assert "above accuracy" in calibration_words(calibration(sure.logits * np.float16(5), sure.labels))
    flat = make_predictions(skill=3.0)
    assert "below accuracy" in calibration_words(calibration(flat.logits / np.float16(9), flat.labels))


@pytest.mark.slow
def test_groups_that_are_apart_stay_apart_on_the_map() -> None:
    pytest.importorskip("sklearn.manifold")
    from ferbench.reporting.embedding import placed

    random = np.random.default_rng(0)
    features = random.normal(size=(60, 8)).astype(np.float32)
    features[30:] += 20
    places = placed(features)
    np.testing.assert_array_equal(places, placed(features))
    apart = np.linalg.norm(places[:30].mean(0) - places[30:].mean(0))
    assert apart > 2 * max(places[:30].std(), places[30:].std())
