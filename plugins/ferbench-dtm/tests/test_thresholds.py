"""Thresholds against their formulas, written as loops in numpy; tests/golden has the public code's own values."""

import math

import numpy as np
import pytest
import torch
from tests.support.predictions import CEILING, MOMENTUM, Batches, C, surer_batches, tensors

from ferbench.contract.batch import PoolPredictions
from ferbench_dtm.thresholds import ClassConfidence, LabeledAverage, LabeledConfidence


@pytest.fixture
def batches() -> Batches:
    return surer_batches()


def test_class_confidence_scales_the_global_confidence_by_what_is_learned(batches: Batches) -> None:
    thresholds = ClassConfidence(C, CEILING, MOMENTUM)
    overall, learned = 1 / C, np.full(C, 1 / C)
    for (predictions, _), (given, index) in zip(batches, tensors(batches), strict=True):
        thresholds.observe(given, index)
        sure, predicted = predictions.max(1), predictions.argmax(1)
        overall = MOMENTUM * overall + (1 - MOMENTUM) * sure.mean()
        for name in range(C):
            if (predicted == name).any():
                learned[name] = MOMENTUM * learned[name] + (1 - MOMENTUM) * sure[predicted == name].mean()
        expected = np.minimum(CEILING, overall * learned / learned.max())
        np.testing.assert_allclose(thresholds.threshold.numpy(), expected, rtol=1e-5)
    assert thresholds.threshold[4] < thresholds.threshold[:4].min(), "a class that is not learned keeps a low threshold"


def test_labeled_confidence_follows_the_teacher() -> None:
    thresholds = LabeledConfidence(3, CEILING, MOMENTUM)
    logits = torch.tensor([[3.0, 0, 0], [2, 0, 0], [0, 1, 0], [1, 0, 0]])
    thresholds.end_epoch(PoolPredictions(logits, torch.tensor([0, 0, 1, 2]), torch.arange(4)), epoch=3)

    def confidence(logit: float) -> float:
        return math.exp(logit) / (math.exp(logit) + 2)

    learned = [(confidence(3) + confidence(2)) / 2, confidence(1), 1 / 3]
    assert thresholds.threshold.tolist() == pytest.approx([CEILING * m / (1 + math.exp(-3)) for m in learned])


def test_labeled_average_rises_slowly_and_falls_at_once() -> None:
    thresholds = LabeledAverage(3, floor=0.8, momentum=0.9)
    sure = [math.exp(logit) / (math.exp(logit) + 2) for logit in (3.0, 5.0)]  # 0.909 and 0.987
    labels = torch.tensor([0, 0, 1, 2])

    def epoch(*logits: list[int]) -> list[float]:
        thresholds.observe(torch.full((2, 3), 1 / 3), torch.arange(2))
        thresholds.end_epoch(PoolPredictions(torch.tensor(logits).float(), labels, torch.arange(4)), epoch=1)
        return thresholds.threshold.tolist()

    # Class 0: one image is right; class 1: right, but unsure; class 2: wrong.
    first = epoch([3, 0, 0], [0, 9, 0], [0, 1, 0], [9, 0, 0])
    assert first == pytest.approx([0.9 * 0.8 + 0.1 * sure[0], 0.8, 0.8])
    # Class 0: both are right; class 1: sure; class 2: right and sure.
    second = epoch([3, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 3])
    assert second == pytest.approx(
        [0.9 * first[0] + 0.1 * sum(sure) / 2, 0.9 * 0.8 + 0.1 * sure[1], 0.9 * 0.8 + 0.1 * sure[0]]
    )
    # Class 0 collapses: whatever it had learned, it begins again.
    third = epoch([0, 9, 0], [0, 9, 0], [0, 5, 0], [0, 0, 1])
    assert third == pytest.approx([0.8, 0.9 * second[1] + 0.1 * sure[1], 0.8])


@pytest.mark.parametrize("make", [ClassConfidence, LabeledConfidence])
def test_thresholds_start_permissive_and_stay_below_the_ceiling(make: type, batches: Batches) -> None:
    thresholds = make(C, 0.5, 0.0)
    assert thresholds.threshold.tolist() == pytest.approx([1 / C] * C)
    for given, index in tensors(batches):
        thresholds.observe(given, index)
        assert (thresholds.threshold <= 0.5).all()
