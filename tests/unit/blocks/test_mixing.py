"""MixUp of images and their labels."""

from typing import Any

import torch

from ferbench.blocks import mixup


class Drawn:
    """A method that draws what it is told; with several processes it holds a part of the images."""

    def __init__(self, shares: list[float], partners: list[int], everything: dict[int, torch.Tensor] | None = None):
        self.shares, self.partners, self.everything = shares, partners, everything

    def beta(self, images: torch.Tensor, a: float, b: float) -> torch.Tensor:
        assert a == b == 0.75
        return torch.tensor(self.shares)

    def permutation(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.partners)

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        return value if self.everything is None else self.everything[value.ndim]


IMAGES = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1, 1)
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])


def test_each_row_is_mixed_with_its_partner_and_stays_the_larger_part() -> None:
    method: Any = Drawn([0.25, 0.5, 1.0], [1, 2, 0])
    images, targets = mixup(method, IMAGES, TARGETS, 0.75)
    assert images.flatten().tolist() == [0.75 * 10 + 0.25 * 20, 25, 30]
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]


def test_partners_are_those_of_all_processes() -> None:
    method: Any = Drawn([0.5], [2], {4: IMAGES, 2: TARGETS})
    images, targets = mixup(method, IMAGES[:1], TARGETS[:1], 0.75)
    assert images.flatten().tolist() == [20] and targets.tolist() == [[0.75, 0.25]]
