"""Each schedule against its formula, written as a loop in numpy."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ferbench.contract.batch import PoolPredictions
from ferbench_dtm.thresholds import ClassConfidence, LabeledConfidence, LearningStatus, UnlabeledConfidence

C, B, POOL, STEPS = 5, 32, 60, 40
CEILING, MOMENTUM = 0.9, 0.8

Batches = list[tuple[NDArray[np.float64], NDArray[np.int64]]]


@pytest.fixture
def batches() -> Batches:
    """Predictions that get surer, of class 4 never, with the places of the images in the pool."""
    rng = np.random.default_rng(0)
    made = []
    for step in range(STEPS):
        logits = rng.normal(size=(B, C)) * (0.2 + 0.15 * step)
        logits[:, 4] -= 3
        predictions = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        made.append((predictions, rng.permutation(POOL)[:B]))
    return made


def tensors(batches: Batches) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for predictions, index in batches:
        yield torch.tensor(predictions).float(), torch.tensor(index)


def test_class_confidence_scales_the_global_confidence_by_what_is_learned(batches: Batches) -> None:
    schedule = ClassConfidence(C, CEILING, MOMENTUM)
    overall, learned = 1 / C, np.full(C, 1 / C)
    for (predictions, _), (given, index) in zip(batches, tensors(batches), strict=True):
        schedule.observe(given, index)
        sure, predicted = predictions.max(1), predictions.argmax(1)
        overall = MOMENTUM * overall + (1 - MOMENTUM) * sure.mean()
        for name in range(C):
            if (predicted == name).any():
                learned[name] = MOMENTUM * learned[name] + (1 - MOMENTUM) * sure[predicted == name].mean()
        expected = np.minimum(CEILING, overall * learned / learned.max())
        np.testing.assert_allclose(schedule.threshold.numpy(), expected, rtol=1e-5)
    assert schedule.threshold[4] < schedule.threshold[:4].min(), "a class that is not learned keeps a low threshold"


def test_unlabeled_confidence_is_freematchs(batches: Batches) -> None:
    schedule = UnlabeledConfidence(C, CEILING, MOMENTUM)
    overall, mean = 1 / C, np.full(C, 1 / C)
    for (predictions, _), (given, index) in zip(batches, tensors(batches), strict=True):
        schedule.observe(given, index)
        overall = MOMENTUM * overall + (1 - MOMENTUM) * predictions.max(1).mean()
        mean = MOMENTUM * mean + (1 - MOMENTUM) * predictions.mean(0)
        np.testing.assert_allclose(
            schedule.threshold.numpy(), np.minimum(CEILING, overall * mean / mean.max()), rtol=1e-5
        )


def test_learning_status_is_flexmatchs(batches: Batches) -> None:
    schedule = LearningStatus(C, CEILING, MOMENTUM, POOL)
    latest = [C] * POOL
    for (predictions, places), (given, index) in zip(batches, tensors(batches), strict=True):
        schedule.observe(given, index)
        for row, place in zip(predictions, places, strict=True):
            if row.max() >= CEILING:
                latest[place] = int(row.argmax())
        counts = [latest.count(name) for name in range(C + 1)]
        status = np.array(counts[:C]) / max(counts)
        np.testing.assert_allclose(schedule.threshold.numpy(), CEILING * status / (2 - status), rtol=1e-5)
    assert schedule.threshold.max() > 0.5


def test_labeled_confidence_follows_the_teacher() -> None:
    schedule = LabeledConfidence(3, CEILING, MOMENTUM)
    logits = torch.tensor([[3.0, 0, 0], [2, 0, 0], [0, 1, 0], [1, 0, 0]])
    schedule.end_epoch(PoolPredictions(logits, torch.tensor([0, 0, 1, 2]), torch.arange(4)), epoch=3)

    def confidence(logit: float) -> float:
        return math.exp(logit) / (math.exp(logit) + 2)

    learned = [(confidence(3) + confidence(2)) / 2, confidence(1), 1 / 3]
    assert schedule.threshold.tolist() == pytest.approx([CEILING * m / (1 + math.exp(-3)) for m in learned])


@pytest.mark.parametrize("make", [ClassConfidence, UnlabeledConfidence, LabeledConfidence])
def test_thresholds_start_permissive_and_stay_below_the_ceiling(make: type, batches: Batches) -> None:
    schedule = make(C, 0.5, 0.0)
    assert schedule.threshold.tolist() == pytest.approx([1 / C] * C)
    for given, index in tensors(batches):
        schedule.observe(given, index)
        assert (schedule.threshold <= 0.5).all()
