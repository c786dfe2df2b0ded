"""The strong view: RandAugment, cutout, then the weak view. Images may be resized before the weak view."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.operations import RandAugmentParameters
from ferbench.data.augment.pixels import check_images, in_cache, pack
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.weak import Weak, WeakParameters, copy_shifted, shift_and_flip


@dataclass(frozen=True)
class StrongParameters:
    """The operations, squares, crops and flips of `Strong` for each image; CPU tensors."""

    randaugment: RandAugmentParameters
    rectangles: Tensor  # (B, 4), the result of `Cutout.draw`
    weak: WeakParameters

    def __getitem__(self, part: slice) -> "StrongParameters":
        return StrongParameters(self.randaugment[part], self.rectangles[part], self.weak[part])


@dataclass(frozen=True)
class Strong:
    """The strong view of Ada-CM and LEAF: RandAugment and cutout at the stored size, then the weak view at `size`."""

    randaugment: RandAugment = field(default_factory=RandAugment)
    cutout: Cutout = field(default_factory=Cutout)
    weak: Weak = field(default_factory=Weak)
    size: int | None = None  # pixels of the views; None is the stored size

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> StrongParameters:
        """Draw parameters for `count` images of a size from the CPU `generator`, in the order of the parts."""
        return StrongParameters(
            self.randaugment.draw(count, generator),
            self.cutout.draw(count, height, width, generator),
            self.weak.draw(count, generator),
        )

    def __call__(
        self, images: Tensor, generator: torch.Generator, boxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Strong views of (B, H, W, 3) uint8 images, square if `size` differs from theirs, and their (B, 4) boxes.

        A rotated or sheared box becomes the box around its corners.
        """
        check_images(images)
        count, height, width = images.shape[:3]
        parameters = self.draw(count, height, width, generator)
        views = self.apply(images, parameters)
        if boxes is None:
            return views, None
        moved = self.randaugment.move(boxes, parameters.randaugment, height, width)
        moved = resize_boxes(moved, width, views.shape[2])
        return views, shift_and_flip(moved, parameters.weak, *views.shape[1:3])

    def apply(self, images: Tensor, parameters: StrongParameters) -> Tensor:
        """(B, H, W, 3) uint8 -> new (B, T, T, 3) uint8."""
        if images.device.type != "cpu":
            return self.weak.apply(self._before_weak(images, parameters)[..., :3], parameters.weak)
        size = images.shape[1:3] if self.size is None else (self.size, self.size)
        views = torch.zeros((len(images), *size, 3), dtype=torch.uint8)
        for part in in_cache(images):
            rgbx = self._before_weak(images[part], parameters[part])
            copy_shifted(rgbx, parameters.weak[part], views[part])
        return views

    def _before_weak(self, images: Tensor, parameters: StrongParameters) -> Tensor:
        rgbx = self.randaugment.apply(pack(images), parameters.randaugment)
        self.cutout.paint(rgbx, parameters.rectangles)
        return rgbx if self.size is None else resize(rgbx, self.size)
