"""RandAugment, cutout and the weak crop on whole batches, with separate draws for each image: for use in any project.

    from ferbench.augment import StrongView, WeakCrop

    strong, weak = StrongView(), WeakCrop(padding=4)
    generator = torch.Generator().manual_seed(0)
    views = strong(images, generator)  # uint8 in, uint8 out, on the device of the images

A view is a function of images and, for repeatable draws, a CPU generator. Images are uint8, (B, 3, H, W) or (B, H, W,
3); if both fit, as for (B, 3, H, 3), the first is meant. The result is a new tensor of the same shape, equal bit by bit
to Pillow's result for each image. Random numbers are drawn on the CPU, so a seed gives the same views on a CPU and on a
GPU, and nothing waits for the device. Raises ValueError for other shapes, other dtypes and a generator of a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ferbench.data.augment import cutout as cutouts
from ferbench.data.augment import randaugment, strong, weak
from ferbench.data.augment.pixels import check_images, in_cache, pack, unpack

__all__ = ["Cutout", "RandAugment", "StrongView", "WeakCrop"]


@dataclass(frozen=True)
class RandAugment:
    """RandAugment (Cubuk et al., 2020) in the form of FixMatch's PyTorch ports.

    Each image gets `operations` of 14 operations, drawn with replacement, each with a magnitude uniform in its range:
    rotate, shear and translate (x, y), brightness, contrast, color, sharpness, posterize, solarize, autocontrast,
    equalize, identity. The ranges are those of `ferbench.data.augment.operations`.
    """

    operations: int = 3

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the images after `operations` operations."""
        inner = randaugment.RandAugment(self.operations)

        def augmented(rows: Tensor) -> Tensor:
            drawn = inner.draw(len(rows), _checked(generator))
            parts = in_cache(rows) if rows.device.type == "cpu" and len(rows) else [slice(None)]
            return torch.cat([unpack(inner.apply(pack(rows[part]), drawn[part])) for part in parts])

        return _in_its_form(images, augmented)


@dataclass(frozen=True)
class Cutout:
    """A filled square in each image, with a side uniform in 0 to `max_size` times the width and a uniform centre."""

    max_size: float = 0.5
    fill: tuple[int, int, int] = (125, 123, 114)  # RGB

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the images, each with one filled square."""
        inner = cutouts.Cutout(self.max_size, self.fill)

        def painted(rows: Tensor) -> Tensor:
            count, height, width = rows.shape[:3]
            rgbx = pack(rows)
            inner.paint(rgbx, inner.draw(count, height, width, _checked(generator)))
            return unpack(rgbx)

        return _in_its_form(images, painted)


@dataclass(frozen=True)
class WeakCrop:
    """Black padding and a random crop of the original size, and a horizontal flip, each with its own probability."""

    padding: int = 4  # pixels on each side
    crop_probability: float = 1.0
    flip_probability: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the images, cropped and flipped."""
        inner = weak.Weak(self.padding, self.crop_probability, self.flip_probability)
        return _in_its_form(images, lambda rows: inner(rows, _checked(generator))[0])


@dataclass(frozen=True)
class StrongView:
    """FixMatch's strong view: RandAugment, cutout and the weak crop, in one pass over the images."""

    randaugment: RandAugment = field(default_factory=RandAugment)
    cutout: Cutout = field(default_factory=Cutout)
    crop: WeakCrop = field(default_factory=WeakCrop)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the strong views of the images."""
        inner = strong.Strong(
            randaugment.RandAugment(self.randaugment.operations),
            cutouts.Cutout(self.cutout.max_size, self.cutout.fill),
            weak.Weak(self.crop.padding, self.crop.crop_probability, self.crop.flip_probability),
        )
        return _in_its_form(images, lambda rows: inner(rows, _checked(generator))[0])


def _in_its_form(images: Tensor, augment: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of (B, H, W, 3) images to images of either form, whatever torch's default device is."""
    with torch.device("cpu"):
        if images.ndim == 4 and images.shape[1] == 3:
            made = augment(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return torch.empty_like(images).copy_(made)
        check_images(images)
        return augment(images)


def _checked(generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, by default torch's own; raises ValueError if it is not a CPU generator."""
    if generator is None:
        return torch.default_generator
    if generator.device.type != "cpu":
        raise ValueError(f"a generator of {generator.device}: views are drawn on the CPU, give torch.Generator()")
    return generator
