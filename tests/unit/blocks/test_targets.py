"""One-hot rows and sharpened distributions."""

import pytest
import torch

from ferbench.blocks import one_hot, sharpen


def test_one_hot_is_torchs_without_looking_at_the_labels() -> None:
    labels = torch.tensor([2, 0, 1, 2])
    assert torch.equal(one_hot(labels, 4), torch.nn.functional.one_hot(labels, 4).float())
    assert one_hot(labels.to("meta"), 4).shape == (4, 4)


@pytest.mark.parametrize("temperature", [0.4, 0.5, 1.0, 2.0])
def test_sharpening_divides_the_logits(temperature: float) -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0], [9.0, -9.0, 3.0]])
    torch.testing.assert_close(sharpen(logits.softmax(-1), temperature), (logits / temperature).softmax(-1))


def test_sharpening_by_hand() -> None:
    found = sharpen(torch.tensor([[0.6, 0.3, 0.1]]), 0.5)
    torch.testing.assert_close(found, torch.tensor([[0.36, 0.09, 0.01]]) / 0.46)
