"""The confidence margin against its formula; tests/golden compares it with the released code's values."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ferbench.blocks import ConfidenceMargin, MarginOptions
from ferbench.contract.batch import Batch, MethodInfo, ViewSet
from tests.golden.steps import LabeledPass

INFO = MethodInfo(("neutral", "happiness", "sadness"), (2, 2, 2), 6, 40, steps=40, steps_per_epoch=2, feature_size=12)
SURE = 20.0 * torch.eye(3)


def margin(**options: object) -> ConfidenceMargin:
    return ConfidenceMargin(INFO, MarginOptions.model_validate(options), lambda value: value)


def after(epoch: int, labels: torch.Tensor, **options: object) -> list[float]:
    """The margins after an epoch in which the teacher is sure of classes 0, 1 and 2, in this order."""
    learned = margin(**options)
    context = LabeledPass(epoch, SURE, labels)
    learned.end_epoch(context, lambda given: given.predict("labeled"))
    return [round(value, 6) for value in learned.threshold.tolist()]


def step(number: int) -> Batch:
    labels, nothing = torch.arange(6) % 3, torch.zeros(())
    views = ViewSet({}, torch.arange(6), {})
    return Batch(views, None, labels, F.one_hot(labels).float(), torch.tensor(number), nothing, nothing)


def test_it_rises_with_epochs_and_stays_between_floor_and_decay() -> None:
    margins = [after(epoch, torch.arange(3))[0] for epoch in range(1, 21)]
    expected = [max(0.8, 0.97 / (1 + math.exp(-epoch))) for epoch in range(1, 21)]
    assert margins == pytest.approx(expected, abs=1e-5)
    assert after(20, torch.tensor([1, 2, 0])) == pytest.approx([0.8] * 3), "classes without a correct image"
    assert after(20, torch.arange(3), floor=0.0, decay=0.5) == pytest.approx([0.5] * 3, abs=1e-5)


@pytest.mark.parametrize("update", ["fixed", "iteration"])
def test_only_margins_of_epochs_are_learned_after_one(update: str) -> None:
    assert after(4, torch.arange(3), update=update, initial=0.7) == pytest.approx([0.7] * 3)


@pytest.mark.parametrize("update", ["fixed", "epoch"])
def test_only_margins_of_iterations_are_learned_at_a_step(update: str) -> None:
    learned = margin(update=update)
    learned.observe(torch.randn(6, 3), step(3))
    assert learned.threshold.tolist() == pytest.approx([0.8] * 3)


def test_margins_of_iterations_follow_a_running_mean_that_the_first_correct_image_begins() -> None:
    learned = margin(update="iteration", floor=0.0, momentum=0.75, initial=0.9)
    rng, mean = np.random.default_rng(0), np.zeros(3)
    labels = np.arange(6) % 3
    for number in range(12):
        logits = rng.normal(size=(6, 3)) * 2
        learned.observe(torch.tensor(logits).float(), step(number))
        probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for name in range(3):
            right = (labels == name) & (probability.argmax(1) == name)
            if right.any():
                value = probability[right].max(1).mean()
                mean[name] = value if mean[name] == 0 else 0.75 * mean[name] + 0.25 * value
        rise = 1 + math.exp(-(number + 1) / 2)
        expected = [0.97 * value / rise if value else 0.9 for value in mean]
        assert learned.threshold.tolist() == pytest.approx(expected, rel=1e-5)


def test_its_state_is_in_buffers() -> None:
    assert margin().state_dict().keys() == {"threshold", "confidence"}
