"""The strong view: RandAugment, then cutout, then the weak view."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.pixels import pack, unpack
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.weak import Weak, shift_and_flip


@dataclass(frozen=True)
class Strong:
    """The strong view of Ada-CM and LEAF, at the stored image size."""

    randaugment: RandAugment = field(default_factory=RandAugment)
    cutout: Cutout = field(default_factory=Cutout)
    weak: Weak = field(default_factory=Weak)

    def __call__(
        self, images: Tensor, generator: torch.Generator, boxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Strong views of (B, H, W, 3) uint8 images, and where their (B, 4) boxes then lie.

        A rotated or sheared box becomes the box around its corners. Random numbers are drawn in the order in which the
        parts act.
        """
        rgbx = pack(images)  # once for all three parts
        count, height, width = images.shape[:3]
        randaugment = self.randaugment.draw(count, generator)
        rectangles = self.cutout.draw(count, height, width, generator)
        weak = self.weak.draw(count, generator)
        rgbx = self.randaugment.apply(rgbx, randaugment)
        self.cutout.paint(rgbx, rectangles)
        views = unpack(self.weak.apply(rgbx.view(torch.int32), weak).view(torch.uint8))
        if boxes is None:
            return views, None
        return views, shift_and_flip(self.randaugment.move(boxes, randaugment, height, width), weak, height, width)
