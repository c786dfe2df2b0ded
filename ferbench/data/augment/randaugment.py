"""RandAugment with operations and magnitudes drawn per image, on whole batches of uint8 images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ferbench.data.augment import enhance, levels
from ferbench.data.augment.geometry import Sources, affine, matrices, sources
from ferbench.data.augment.operations import MAGNITUDES, Operation
from ferbench.data.augment.pixels import as_int32, pack, to_device, unpack

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

    def __post_init__(self) -> None:
        if self.operations < 0:
            raise ValueError(f"operations must not be negative, got {self.operations}")

    def draw(self, count: int, generator: torch.Generator) -> RandAugmentParameters:
        """Parameters of `count` images, from the CPU `generator`."""
        shape = (self.operations, count)
        operation = torch.randint(len(Operation), shape, generator=generator)
        low, high = _RANGES[operation].unbind(-1)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return RandAugmentParameters(operation, low + (high - low) * uniform)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, H, W, 3) uint8 -> new (B, H, W, 3) uint8."""
        return unpack(self.apply(pack(images), self.draw(len(images), generator)))

    def apply(self, rgbx: Tensor, parameters: RandAugmentParameters) -> Tensor:
        """(B, H, W, 4) uint8 -> new (B, H, W, 4) uint8, one round of `parameters` after the other.

        Each round sorts the images by operation, so that an operation is a few calls on one slice of the batch. What
        is sorted are CPU tensors: sizes and order are known without asking the device.
        """
        height, width = rgbx.shape[1:3]
        operation, order = parameters.operation.sort(dim=1, stable=True)
        magnitude = parameters.magnitude.gather(1, order)
        bounds = torch.arange(len(Operation) + 1).expand(len(order), -1).contiguous()
        first = torch.searchsorted(operation, bounds).tolist()
        # Where the images of a round lie in the order that the round before left, and at last the way back.
        place = order.argsort(dim=1)
        moves = torch.cat((order[:1], place[:-1].gather(1, order[1:]), place[-1:]))

        moves = to_device(moves, rgbx.device)
        # A level lies below a threshold where it lies below the next whole number.
        whole = to_device(torch.where(operation == Operation.SOLARIZE, magnitude.ceil(), magnitude).short(), rgbx.device)
        factor = to_device(magnitude.float(), rgbx.device)
        source = sources(to_device(matrices(operation, magnitude, height, width), rgbx.device), height, width)
        for step in range(self.operations):
            rgbx = rgbx.index_select(0, moves[step])
            _apply_sorted(rgbx, first[step], whole[step], factor[step], Sources(*(part[step] for part in source)))
        return rgbx.index_select(0, moves[-1])


def _apply_sorted(rgbx: Tensor, first: list[int], whole: Tensor, factor: Tensor, source: Sources) -> None:
    """One operation for each image of contiguous (B, H, W, 4) uint8 `rgbx`, in place.

    The images are sorted by operation: those of operation k are first[k] up to first[k + 1]. `whole` (B,) int16 and
    `factor` (B,) float32 are their magnitudes, `source` where geometry takes their pixels from.
    """
    geometry = slice(first[Operation.ROTATE], first[Operation.TRANSLATE_Y + 1])
    if geometry.start < geometry.stop:
        affine(as_int32(rgbx[geometry]), Sources(*(part[geometry] for part in source)))
    whole, factor = whole[:, None, None, None], factor[:, None, None, None]
    for operation in Operation:
        part = slice(first[operation], first[operation + 1])
        if part.start == part.stop:
            continue
        images = rgbx[part]
        match operation:
            case Operation.BRIGHTNESS:
                enhance.brightness(images, factor[part])
            case Operation.CONTRAST:
                enhance.contrast(images, factor[part])
            case Operation.COLOR:
                enhance.color(images, factor[part])
            case Operation.SHARPNESS:
                enhance.sharpness(images, factor[part])
            case Operation.POSTERIZE:
                levels.posterize(images, whole[part])
            case Operation.SOLARIZE:
                levels.solarize(images, whole[part])
            case Operation.AUTOCONTRAST:
                levels.autocontrast(images)
            case Operation.EQUALIZE:
                levels.equalize(images)
