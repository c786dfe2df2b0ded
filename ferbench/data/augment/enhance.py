"""PIL's ImageEnhance on batches: an image blended with a degenerate version of itself, in place.

Images are (B, H, W, 4) uint8 and `factor` is (B, 1, 1, 1) float32: 0 gives the degenerate image, 1 the image itself.
`ImagingBlend` in Pillow's libImaging/Blend.c computes degenerate + factor * (image - degenerate) in float32 and drops
the fraction. Here product and sum stay apart too: fused (lerp, addcmul) they would be rounded once, not twice.
"""

import torch
from torch import Tensor


def brightness(rgbx: Tensor, factor: Tensor) -> None:
    """Blend with black."""
    _store(rgbx.float().mul_(factor), rgbx)


def contrast(rgbx: Tensor, factor: Tensor) -> None:
    """Blend with one grey, the mean of the image's `luma` rounded half up."""
    grey = luma(rgbx)
    pixels = grey.shape[1] * grey.shape[2]
    mean = grey.sum(dim=(1, 2)).mul_(2).add_(pixels) // (2 * pixels)
    _blend(mean.float().view(-1, 1, 1, 1), rgbx, factor)


def color(rgbx: Tensor, factor: Tensor) -> None:
    """Blend with the image's `luma`."""
    _blend((luma(rgbx) * 0x010101)[..., None].view(torch.uint8).float(), rgbx, factor)  # the grey in each of three bytes


def sharpness(rgbx: Tensor, factor: Tensor) -> None:
    """Blend with `ImageFilter.SMOOTH`, which leaves the outermost pixels alone.

    Its kernel is 1 with 5 in the centre, divided by 13 and rounded. A sum of whole numbers plus 6.5 is never a
    multiple of 13, so how the division is rounded cannot matter.
    """
    if rgbx.shape[1] < 3 or rgbx.shape[2] < 3:
        return
    levels = rgbx.short()
    rows = (levels[:, :-2] + levels[:, 1:-1]).add_(levels[:, 2:])
    total = (rows[:, :, :-2] + rows[:, :, 1:-1]).add_(rows[:, :, 2:]).add_(levels[:, 1:-1, 1:-1], alpha=4)
    _blend(total.float().add_(6.5).mul_(1 / 13).floor_(), rgbx[:, 1:-1, 1:-1], factor)


def luma(rgbx: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 -> (B, H, W) int32 in 0..255: PIL's `convert("L")`, ITU-R 601 in 16-bit fixed point."""
    red, green, blue = (rgbx[..., channel].int() for channel in range(3))
    return red.mul_(19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000).bitwise_right_shift_(16)


def _blend(degenerate: Tensor, rgbx: Tensor, factor: Tensor) -> None:
    _store(rgbx.float().sub_(degenerate).mul_(factor).add_(degenerate), rgbx)


def _store(levels: Tensor, rgbx: Tensor) -> None:
    """Levels in 0..255 without their fraction; by way of int32 it takes a third of the time."""
    rgbx.copy_(levels.int())
