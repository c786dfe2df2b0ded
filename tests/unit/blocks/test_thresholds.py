"""Thresholds against their formulas, written as loops in numpy."""

import numpy as np
import pytest
import torch

from ferbench.blocks import ClassThresholds, LearningStatus, UnlabeledConfidence, class_confidence
from tests.support.predictions import CEILING, MOMENTUM, POOL, Batches, C, surer_batches, tensors


@pytest.fixture
def batches() -> Batches:
    return surer_batches()


def test_a_pseudo_label_counts_where_it_reaches_the_threshold_of_its_class() -> None:
    thresholds = ClassThresholds(2, 0.8)
    thresholds.threshold.copy_(torch.tensor([0.8, 0.4]))
    pseudo_label, mask = thresholds(torch.tensor([[0.9, 0.1], [0.45, 0.55], [0.75, 0.25], [0.8, 0.2]]))
    assert pseudo_label.tolist() == [0, 1, 0, 0]
    assert mask.tolist() == [1, 1, 0, 1]
    assert (pseudo_label.dtype, mask.dtype) == (torch.int64, torch.float32)


def test_unlabeled_confidence_is_freematchs(batches: Batches) -> None:
    thresholds = UnlabeledConfidence(C, CEILING, MOMENTUM)
    overall, mean = 1 / C, np.full(C, 1 / C)
    for (predictions, _), (given, index) in zip(batches, tensors(batches), strict=True):
        thresholds.observe(given, index)
        overall = MOMENTUM * overall + (1 - MOMENTUM) * predictions.max(1).mean()
        mean = MOMENTUM * mean + (1 - MOMENTUM) * predictions.mean(0)
        expected = np.minimum(CEILING, overall * mean / mean.max())
        np.testing.assert_allclose(thresholds.threshold.numpy(), expected, rtol=1e-5)


def test_learning_status_is_flexmatchs(batches: Batches) -> None:
    thresholds = LearningStatus(C, CEILING, MOMENTUM, POOL)
    latest = [C] * POOL
    for (predictions, places), (given, index) in zip(batches, tensors(batches), strict=True):
        thresholds.observe(given, index)
        for row, place in zip(predictions, places, strict=True):
            if row.max() >= CEILING:
                latest[place] = int(row.argmax())
        counts = [latest.count(name) for name in range(C + 1)]
        status = np.array(counts[:C]) / max(counts)
        np.testing.assert_allclose(thresholds.threshold.numpy(), CEILING * status / (2 - status), rtol=1e-5)
    assert thresholds.threshold.max() > 0.5


def test_thresholds_start_permissive_and_stay_below_the_ceiling(batches: Batches) -> None:
    thresholds = UnlabeledConfidence(C, 0.5, 0.0)
    assert thresholds.threshold.tolist() == pytest.approx([1 / C] * C)
    for given, index in tensors(batches):
        thresholds.observe(given, index)
        assert (thresholds.threshold <= 0.5).all()


def test_class_confidence_is_the_mean_over_correct_images() -> None:
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(200) % 3  # class 3 has no image
    confidence, counts = class_confidence(logits, labels)
    exact = logits.double().numpy()
    probability = np.exp(exact) / np.exp(exact).sum(1, keepdims=True)
    for name in range(4):
        chosen = (labels.numpy() == name) & (probability.argmax(1) == name)
        assert counts[name] == chosen.sum()
        mean = probability[chosen].max(1).mean() if chosen.any() else 0
        assert confidence[name].item() == pytest.approx(mean, abs=1e-6)
