"""RandAugment with operations and magnitudes drawn per image, on whole batches of uint8 images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ferbench.data.augment import enhance, levels
from ferbench.data.augment.arrays import native
from ferbench.data.augment.geometry import ONE, affine, follow, matrices, sources
from ferbench.data.augment.operations import MAGNITUDES, Operation
from ferbench.data.augment.pixels import as_int32, to_device

_RANGES = torch.tensor([MAGNITUDES[operation] for operation in Operation], dtype=torch.float64)


@dataclass(frozen=True)
class RandAugmentParameters:
    """What one call of `RandAugment` does to each image, round by round; CPU tensors."""

    operation: Tensor  # (rounds, B) int64, values of `Operation`
    magnitude: Tensor  # (rounds, B) float64, in the unit of `MAGNITUDES`


@dataclass(frozen=True)
class RandAugment:
    """RandAugment (Cubuk et al., 2020) in the form of FixMatch's PyTorch ports, Ada-CM and LEAF.

    Each image gets `operations` operations, drawn independently and with replacement from the 14 of `Operation`,
    each with a magnitude uniform in its range. Every image equals what PIL makes of it, operation after operation.
    """

    operations: int = 3

    def draw(self, count: int, generator: torch.Generator) -> RandAugmentParameters:
        """Parameters of `count` images, from the CPU `generator`."""
        shape = (self.operations, count)
        operation = torch.randint(len(Operation), shape, generator=generator)
        low, high = _RANGES[operation].unbind(-1)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return RandAugmentParameters(operation, low + (high - low) * uniform)

    def move(self, boxes: Tensor, parameters: RandAugmentParameters, height: int, width: int) -> Tensor:
        """(B, 4) boxes -> new (B, 4): around where the rotated, sheared and translated corners lie."""
        fixed = matrices(parameters.operation.numpy(), parameters.magnitude.numpy(), height, width)
        inverses = (fixed / ONE).reshape(*fixed.shape[:-1], 2, 3)
        inverses[..., 2] -= inverses[..., :2].sum(-1) / 2  # from centres of pixels to their corners
        return follow(boxes, to_device(torch.from_numpy(inverses), boxes.device), height, width)

    def apply(self, rgbx: Tensor, parameters: RandAugmentParameters) -> Tensor:
        """(B, H, W, 4) uint8 -> new (B, H, W, 4) uint8, one round of `parameters` after the other.

        Each round sorts the images by operation, so that an operation is a few calls on one slice of the batch. What
        is sorted are CPU tensors: sizes and order are known without asking the device.
        """
        height, width = rgbx.shape[1:3]
        order = np.argsort(parameters.operation.numpy(), axis=1, kind="stable")
        operation = np.take_along_axis(parameters.operation.numpy(), order, axis=1)
        magnitude = np.take_along_axis(parameters.magnitude.numpy(), order, axis=1)
        # A level lies below a threshold where it lies below the next whole number.
        whole = np.where(operation == Operation.SOLARIZE, np.ceil(magnitude), magnitude).astype(np.int16)
        # Permutations: from the order that a round leaves to that of the next, and at last back to the original.
        place = np.argsort(order, axis=1)
        moves = np.concatenate((order[:1], np.take_along_axis(place[:-1], order[1:], axis=1), place[-1:]))

        def on_device(values: NDArray[Any]) -> Tensor:
            return to_device(torch.from_numpy(values), rgbx.device)

        way, wholes, factors = on_device(moves), on_device(whole), on_device(magnitude.astype(np.float32))
        rows, columns = sources(on_device(matrices(operation, magnitude, height, width)), height, width)
        for step in range(self.operations):
            rgbx = rgbx.index_select(0, way[step])
            first = np.searchsorted(operation[step], np.arange(len(Operation) + 1)).tolist()
            _apply_sorted(rgbx, first, wholes[step], factors[step], rows[step], columns[step])
        return rgbx.index_select(0, way[-1])


def _apply_sorted(rgbx: Tensor, first: list[int], whole: Tensor, factor: Tensor, rows: Tensor, columns: Tensor) -> None:
    """One operation for each image of contiguous (B, H, W, 4) uint8 `rgbx`, in place.

    The images are sorted by operation: those of operation k are first[k] up to first[k + 1]. `whole` (B,) int16 and
    `factor` (B,) float32 are their magnitudes, `rows` and `columns` the `sources` of their pixels.
    """

    def span(start: Operation, last: Operation) -> slice | None:
        return slice(first[start], first[last + 1]) if first[start] < first[last + 1] else None

    if part := span(Operation.ROTATE, Operation.TRANSLATE_Y):
        affine(as_int32(rgbx[part]), rows[part], columns[part])
    images = native(rgbx)
    whole, factor = (native(values)[:, None, None, None] for values in (whole, factor))
    if part := span(Operation.BRIGHTNESS, Operation.BRIGHTNESS):
        enhance.brightness(images[part], factor[part])
    if part := span(Operation.CONTRAST, Operation.COLOR):
        enhance.contrast_color(images[part], factor[part], first[Operation.COLOR] - first[Operation.CONTRAST])
    if part := span(Operation.SHARPNESS, Operation.SHARPNESS):
        enhance.sharpness(images[part], factor[part])
    if part := span(Operation.POSTERIZE, Operation.POSTERIZE):
        levels.posterize(images[part], whole[part])
    if part := span(Operation.SOLARIZE, Operation.SOLARIZE):
        levels.solarize(images[part], whole[part])
    if part := span(Operation.AUTOCONTRAST, Operation.AUTOCONTRAST):
        levels.autocontrast(images[part])
    if part := span(Operation.EQUALIZE, Operation.EQUALIZE):
        levels.equalize(images[part])
