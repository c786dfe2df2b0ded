"""The weak view: a random crop with padding and a horizontal flip, as index arithmetic on the whole batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ferbench.data.augment.pixels import check_images, to_device


@dataclass(frozen=True)
class WeakParameters:
    """What one call of `Weak` does to each image; CPU tensors."""

    dx: Tensor  # (B,) int64, -padding..padding: the crop starts dx pixels right of the image's left border
    dy: Tensor  # (B,) int64, likewise downwards
    flip: Tensor  # (B,) bool: mirrored after the crop


@dataclass(frozen=True)
class Weak:
    """Crop and flip, drawn per image: torchvision's RandomApply([RandomCrop(size, padding)]), RandomHorizontalFlip.

    What lies outside the image is black, as in RandomCrop's constant padding.
    """

    padding: int = 4  # pixels at the stored image size, on each side
    crop_probability: float = 0.5
    flip_probability: float = 0.5

    def draw(self, count: int, generator: torch.Generator) -> WeakParameters:
        """Parameters of `count` images, from the CPU `generator`.

        The number of values drawn depends on `count` alone, so that options do not shift later draws.
        """
        crop = torch.rand(count, generator=generator, dtype=torch.float64) < self.crop_probability
        offsets = torch.randint(-self.padding, self.padding + 1, (2, count), generator=generator)
        flip = torch.rand(count, generator=generator, dtype=torch.float64) < self.flip_probability
        dx, dy = offsets * crop
        return WeakParameters(dx, dy, flip)

    def __call__(
        self, images: Tensor, generator: torch.Generator, boxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Weak views of (B, H, W, 3) uint8 images, and where their (B, 4) boxes then lie."""
        check_images(images)
        count, height, width = images.shape[:3]
        parameters = self.draw(count, generator)
        views = self.apply(images, parameters)
        return views, None if boxes is None else shift_and_flip(boxes, parameters, height, width)

    def apply(self, images: Tensor, parameters: WeakParameters) -> Tensor:
        """(B, H, W, C) images of any type -> new (B, H, W, C).

        A row of a view is a run of memory in the padded batch, so the crop copies rows: a tenth of the time of
        gathering pixels. The images to be flipped are mirrored on their way into the padded batch, behind the others.
        """
        count, height, width, channels = images.shape
        padding = self.padding
        padded_height, padded_width = height + 2 * padding, width + 2 * padding
        order = np.argsort(parameters.flip.numpy(), kind="stable")
        kept = count - int(np.count_nonzero(parameters.flip.numpy()))
        source = to_device(torch.from_numpy(order), images.device)
        padded = images.new_zeros((count, padded_height, padded_width, channels))
        inside = padded[:, padding : padding + height, padding : padding + width]
        inside[:kept] = images.index_select(0, source[:kept])
        inside[kept:] = images.index_select(0, source[kept:]).flip(2)

        dx = np.where(parameters.flip.numpy(), -parameters.dx.numpy(), parameters.dx.numpy())
        top = np.argsort(order) * padded_height + parameters.dy.numpy() + padding
        first = top * padded_width + dx + padding
        start = (first[:, None] + np.arange(0, height * padded_width, padded_width)) * channels
        run = width * channels
        runs = padded.as_strided((max(padded.numel() - run + 1, 0), run), (1, 1))  # every run of the padded batch
        views = runs.index_select(0, to_device(torch.from_numpy(start.ravel()), images.device))
        return views.view(count, height, width, channels)


def shift_and_flip(boxes: Tensor, parameters: WeakParameters, height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): moved with the crop, clipped to the image, then mirrored with the flip.

    A box that the crop leaves outside becomes empty (x0 == x1 or y0 == y1) at the border.
    """
    dx, dy, flip = (to_device(p, boxes.device) for p in (parameters.dx, parameters.dy, parameters.flip))
    x = (boxes[:, 0::2] - dx[:, None]).clamp(0, width)
    y = (boxes[:, 1::2] - dy[:, None]).clamp(0, height)
    x = torch.where(flip[:, None], width - x.flip(1), x)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
