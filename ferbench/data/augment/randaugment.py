"""RandAugment with operations and magnitudes drawn per image, on whole batches of uint8 images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ferbench.data.augment import dense, grouped
from ferbench.data.augment.geometry import ONE, follow, matrices
from ferbench.data.augment.operations import MAGNITUDES, Operation, RandAugmentParameters
from ferbench.data.augment.parcel import send, to_device

_RANGES = torch.tensor([MAGNITUDES[operation] for operation in Operation], dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class RandAugment:
    """RandAugment (Cubuk et al., 2020) in the form of FixMatch's PyTorch ports, Ada-CM and LEAF.

    Each image gets `operations` operations, drawn independently and with replacement from the 14 of `Operation`,
    each with a magnitude uniform in its range. Every image equals PIL's result, operation after operation.
    """

    operations: int = 3

    def draw(self, count: int, generator: torch.Generator) -> RandAugmentParameters:
        """Parameters of `count` images, from the CPU `generator`."""
        shape = (self.operations, count)
        operation = torch.randint(len(Operation), shape, generator=generator)
        low, high = _RANGES[operation].unbind(-1)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return RandAugmentParameters(operation, low + (high - low) * uniform)

    def apply(self, rgbx: Tensor, parameters: RandAugmentParameters) -> Tensor:
        """(B, H, W, 4) uint8 -> (B, H, W, 4) uint8, one round of `parameters` after the other.

        The result may reuse the memory of the given images.
        """
        if rgbx.device.type == "cpu":
            return grouped.apply(rgbx, parameters)
        [plan] = send([dense.prepare(parameters, *rgbx.shape[1:3])], rgbx.device)
        return dense.apply(rgbx, plan)

    def move(self, boxes: Tensor, parameters: RandAugmentParameters, height: int, width: int) -> Tensor:
        """(B, 4) boxes -> new (B, 4): the boxes around their rotated, sheared and translated corners."""
        found = torch.from_numpy(inverses(parameters, height, width))
        return follow(boxes, to_device(found, boxes.device), height, width)


def inverses(parameters: RandAugmentParameters, height: int, width: int) -> NDArray[np.float64]:
    """(rounds, B, 2, 3): where the points of a result come from, in pixels; for `follow`."""
    fixed = matrices(parameters.operation.numpy(), parameters.magnitude.numpy(), height, width)
    found = (fixed / ONE).reshape(*fixed.shape[:-1], 2, 3)
    found[..., 2] -= found[..., :2].sum(-1) / 2  # from centres of pixels to their corners
    return found
