"""The weak view: a random crop with padding and a horizontal flip, as index arithmetic on the whole batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ferbench.data.augment.geometry import overlap
from ferbench.data.augment.parcel import send, to_device
from ferbench.data.augment.pixels import check_images


@dataclass(frozen=True)
class WeakParameters:
    """The crops and flips of `Weak` for each image; CPU tensors."""

    dx: Tensor  # (B,) int64, -padding..padding: the crop starts dx pixels right of the image's left border
    dy: Tensor  # (B,) int64, likewise downwards
    flip: Tensor  # (B,) bool: mirrored after the crop

    def __getitem__(self, part: slice) -> "WeakParameters":
        return WeakParameters(self.dx[part], self.dy[part], self.flip[part])


class WeakPlan(NamedTuple):
    """The crops and flips of B images: arrays on the host, which become tensors on a device."""

    rows: Any  # (B, H) int32, for each row of a view: the index of the first pixel of its source row, over all pixels
    columns: Any  # (B, W) int32, for each column of a view: the source column
    row_inside: Any  # (B, H) bool, whether the source row is inside the image
    column_inside: Any  # (B, W) bool


@dataclass(frozen=True)
class Weak:
    """Crop and flip, drawn per image: torchvision's RandomApply([RandomCrop(size, padding)]), RandomHorizontalFlip.

    Pixels outside the image are black, as in RandomCrop's constant padding.
    """

    padding: int = 4  # pixels at the stored image size, on each side
    crop_probability: float = 0.5
    flip_probability: float = 0.5

    def draw(self, count: int, generator: torch.Generator) -> WeakParameters:
        """Draw parameters for `count` images from the CPU `generator`.

        The number of values drawn depends only on `count`, so that options do not shift later draws.
        """
        crop = torch.rand(count, generator=generator, dtype=torch.float64) < self.crop_probability
        offsets = torch.randint(-self.padding, self.padding + 1, (2, count), generator=generator)
        flip = torch.rand(count, generator=generator, dtype=torch.float64) < self.flip_probability
        dx, dy = offsets * crop
        return WeakParameters(dx, dy, flip)

    def __call__(
        self, images: Tensor, generator: torch.Generator, boxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Weak views of (B, H, W, 3) uint8 images, and the new places of their (B, 4) boxes."""
        check_images(images)
        count, height, width = images.shape[:3]
        parameters = self.draw(count, generator)
        views = self.apply(images, parameters)
        return views, None if boxes is None else shift_and_flip(boxes, parameters, height, width)

    def apply(self, images: Tensor, parameters: WeakParameters) -> Tensor:
        """(B, H, W, 3) uint8 -> new (B, H, W, 3) uint8."""
        if images.device.type != "cpu":
            [plan] = send([prepare([parameters], *images.shape[1:3])], images.device)
            return gather(images, plan)
        views = torch.zeros(images.shape, dtype=images.dtype)
        copy_shifted(images, parameters, views)
        return views


def copy_shifted(images: Tensor, parameters: WeakParameters, views: Tensor) -> None:
    """Crop and flip (B, H, W, C) images on a CPU: copy their first three channels into black (B, H, W, 3) views."""
    height, width = images.shape[1:3]
    draws = zip(parameters.dx.tolist(), parameters.dy.tolist(), parameters.flip.tolist(), strict=True)
    whole_rows = images.shape[3] == views.shape[3]
    for image, view, (dx, dy, flip) in zip(images.numpy(), views.numpy(), draws, strict=True):
        (y, from_y), (x, from_x) = overlap(dy, height), overlap(dx, width)
        seen = image[from_y, from_x]
        shown = view[y, ::-1][:, x] if flip else view[y, x]
        if whole_rows and not flip:
            shown[...] = seen
        else:
            for channel in range(3):  # three strided copies beat one copy with an inner dimension of 3
                shown[..., channel] = seen[..., channel]


def prepare(parameters: Sequence[WeakParameters], height: int, width: int) -> WeakPlan:
    """The plan that a device needs for batches of images of one size. The batches follow each other."""
    dx, dy, flip = (
        np.concatenate([getattr(each, name).numpy() for each in parameters])[:, None] for name in ("dx", "dy", "flip")
    )
    x, y = np.arange(width), np.arange(height) + dy
    x = np.where(flip, x[::-1], x) + dx
    first = np.arange(len(dx))[:, None] * height
    rows, columns = (first + y.clip(0, height - 1)) * width, x.clip(0, width - 1)
    inside = (y >= 0) & (y < height), (x >= 0) & (x < width)
    return WeakPlan(rows.astype(np.int32), columns.astype(np.int32), *inside)


def gather(images: Tensor, plan: WeakPlan) -> Tensor:
    """(B, H, W, C) images -> new (B, H, W, C), cropped and flipped by the plan. Both lie on the same device."""
    index = plan.rows[:, :, None] + plan.columns[:, None]
    inside = plan.row_inside[:, :, None] & plan.column_inside[:, None]
    views = images.reshape(-1, images.shape[-1]).index_select(0, index.view(-1)).view(images.shape)
    return views.mul_(inside[..., None])


def shift_and_flip(boxes: Tensor, parameters: WeakParameters, height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): moved with the crop, clipped to the image, then mirrored with the flip.

    A box that the crop leaves outside becomes empty (x0 == x1 or y0 == y1) at the border.
    """
    dx, dy, flip = (to_device(p, boxes.device) for p in (parameters.dx, parameters.dy, parameters.flip))
    x = (boxes[:, 0::2] - dx[:, None]).clamp(0, width)
    y = (boxes[:, 1::2] - dy[:, None]).clamp(0, height)
    x = torch.where(flip[:, None], width - x.flip(1), x)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
