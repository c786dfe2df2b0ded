"""The strong view: RandAugment, then cutout, then the weak view; between these images may be resized."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.pixels import pack, unpack
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.weak import Weak, shift_and_flip


@dataclass(frozen=True)
class Strong:
    """The strong view of Ada-CM and LEAF: RandAugment and cutout at the stored size, the weak view at another one."""

    randaugment: RandAugment = field(default_factory=RandAugment)
    cutout: Cutout = field(default_factory=Cutout)
    weak: Weak = field(default_factory=Weak)
    size: int | None = None  # pixels of the views; None is the stored size

    def __call__(
        self, images: Tensor, generator: torch.Generator, boxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Strong views of (B, H, W, 3) uint8 images, square ones where `size` is another, and their (B, 4) boxes.

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
        rgbx = rgbx if self.size is None else resize(rgbx, self.size)
        views = unpack(self.weak.apply(rgbx.view(torch.int32), weak).view(torch.uint8))
        if boxes is None:
            return views, None
        moved = resize_boxes(self.randaugment.move(boxes, randaugment, height, width), width, views.shape[2])
        return views, shift_and_flip(moved, weak, *views.shape[1:3])
