"""Means of what a mask names, and of the last batches."""

import torch

from ferbench.blocks import RecentMean, masked_mean


def same(value: torch.Tensor) -> torch.Tensor:
    return value


def test_the_mean_of_what_the_mask_names() -> None:
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    masked_mean(values, torch.tensor([1.0, 0.0, 1.0]), same).backward()
    assert masked_mean(values.detach(), torch.tensor([1.0, 0.0, 1.0]), same) == 3.5
    assert values.grad is not None and values.grad.tolist() == [0.5, 0, 0.5]
    assert masked_mean(values.detach(), torch.zeros(3), same) == 0


def test_two_processes_together_have_the_mean_of_one() -> None:
    parts = [(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0])), (torch.tensor([6.0, 4.0]), torch.tensor([1.0, 0.0]))]
    count = sum(mask.sum() for _, mask in parts) / 2
    found = sum(masked_mean(values, mask, lambda _: torch.as_tensor(count)) for values, mask in parts) / 2
    assert found == 6


def test_the_mean_of_the_last_batches_begins_uniform() -> None:
    recent = RecentMean(2, window=3)
    torch.testing.assert_close(recent(torch.tensor([0.8, 0.2])), torch.tensor([0.6, 0.4]))
    for _ in range(3):
        found = recent(torch.tensor([0.1, 0.9], requires_grad=True))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.9]))
    assert not found.requires_grad
    assert recent.state_dict().keys() == {"recent"}
