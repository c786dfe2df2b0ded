"""Distribution alignment against its formula in numpy, over several batches."""

import numpy as np
import pytest
import torch

from ferbench.blocks import DistributionAlignment, aligned
from ferbench.contract.batch import MethodInfo

INFO = MethodInfo(("neutral", "happiness", "sadness"), (6, 3, 1), 10, 40, steps=40, steps_per_epoch=2, feature_size=4)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_predictions_are_scaled_to_the_proportions_of_the_labels(decay: float) -> None:
    align = DistributionAlignment(INFO, decay, lambda value: value)
    rng = np.random.default_rng(0)
    running, prior = np.full(3, 1 / 3), np.array([0.6, 0.3, 0.1])
    for _ in range(4):
        prediction = rng.dirichlet([1, 2, 3], size=8)
        running = decay * running + (1 - decay) * prediction.mean(0)
        expected = prediction * prior / running
        found = align(torch.tensor(prediction).float())
        np.testing.assert_allclose(found.numpy(), expected / expected.sum(1, keepdims=True), rtol=1e-5)
        assert (found.shape, found.dtype) == ((8, 3), torch.float32)


def test_the_mean_is_that_of_all_processes() -> None:
    align = DistributionAlignment(INFO, 0.0, lambda value: (value + torch.tensor([0.0, 0.0, 1.0])) / 2)
    align(torch.tensor([[0.5, 0.5, 0.0]]))
    assert align.running.tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_its_state_is_in_buffers() -> None:
    assert DistributionAlignment(INFO, 0.9, lambda value: value).state_dict().keys() == {"running", "prior"}


def test_a_class_that_was_never_found_leaves_numbers() -> None:
    found = aligned(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.5, 0.5, 0.0]))
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.6, 0.0]]))
