"""Cutout as in the strong view of FixMatch's PyTorch ports: one filled square per image."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ferbench.data.augment.parcel import send
from ferbench.data.augment.pixels import as_int32


class CutoutPlan(NamedTuple):
    """The squares of B images: arrays on the host, which become tensors on a device."""

    rows: Any  # (B, H) bool
    columns: Any  # (B, W) bool
    colour: Any  # (1,) int32, four bytes


@dataclass(frozen=True)
class Cutout:
    """A square of side v = U(0, max_size) * width about a centre uniform in the image, filled with one colour.

    Equal to PIL's `ImageDraw.rectangle`: x0 = int(max(0, cx - v/2)), x1 = min(width, x0 + v), likewise y. PIL drops the
    fraction of the end coordinates, and the pixels there are painted too. As in Ada-CM's and LEAF's code, a square that
    crosses the upper or left border is moved into the image, so it keeps its full side. In their code the centre lies
    in (1, width].
    """

    max_size: float = 0.5  # largest side, as a share of the image's width
    fill: tuple[int, int, int] = (125, 123, 114)  # RGB

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(count, 4) int64 on the CPU: x0, y0, x1, y1. The last two are included, and may lie beyond the image."""
        size, x, y = torch.rand((3, count), generator=generator, dtype=torch.float64).numpy()
        side = size * self.max_size * width
        x0, y0 = np.floor(np.maximum(0, x * width - side / 2)), np.floor(np.maximum(0, y * height - side / 2))
        x1, y1 = np.minimum(width, x0 + side), np.minimum(height, y0 + side)
        return torch.from_numpy(np.stack((x0, y0, x1, y1), axis=1).astype(np.int64))

    def paint(self, rgbx: Tensor, rectangles: Tensor) -> None:
        """Fill the (B, 4) rectangles of `draw` in (B, H, W, 4) uint8 images, in place."""
        if rgbx.device.type != "cpu":
            [plan] = send([self.prepare(rectangles, *rgbx.shape[1:3])], rgbx.device)
            paint(rgbx, plan)
            return
        pixels, colour = as_int32(rgbx).numpy(), self._colour()
        for image, (x0, y0, x1, y1) in zip(pixels, rectangles.tolist(), strict=True):
            image[y0 : y1 + 1, x0 : x1 + 1] = colour

    def prepare(self, rectangles: Tensor, height: int, width: int) -> CutoutPlan:
        """The plan that a device needs to fill the (B, 4) rectangles of `draw`."""
        x0, y0, x1, y1 = rectangles.numpy()[:, :, None].transpose(1, 0, 2)
        x, y = np.arange(width), np.arange(height)
        return CutoutPlan((y >= y0) & (y <= y1), (x >= x0) & (x <= x1), self._colour())

    def _colour(self) -> Any:
        return np.array([*self.fill, 0], np.uint8).view(np.int32)


def paint(rgbx: Tensor, plan: CutoutPlan) -> None:
    """Fill the rectangles of the plan in (B, H, W, 4) uint8 images, in place. Both lie on the same device."""
    pixels = as_int32(rgbx)
    inside = plan.rows[:, :, None] & plan.columns[:, None, :]
    torch.where(inside, plan.colour, pixels, out=pixels)
