"""PIL's ImageEnhance on batches: an image blended with a degenerate version of itself, in place.

Images are (B, H, W, 4) uint8 and `factor` is (B, 1, 1, 1) float32: 0 gives the degenerate image, 1 the image itself.
`ImagingBlend` in Pillow's libImaging/Blend.c computes degenerate + factor * (image - degenerate) in float32 and drops
the fraction. Product and sum are separate here too: a fused operation (lerp, addcmul) would round once, not twice.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Factor = NDArray[np.float32]


def brightness(rgbx: Images, factor: Factor) -> None:
    """Blend with black."""
    blend = rgbx.astype(np.float32)
    blend *= factor
    rgbx[...] = blend


def contrast(rgbx: Images, factor: Factor) -> None:
    """Blend with the mean of the image's `luma`, rounded half up."""
    pixels = rgbx.shape[1] * rgbx.shape[2]
    mean = (luma(rgbx).sum((1, 2)) * 2 + pixels) // (2 * pixels)
    _blend(mean.astype(np.float32)[:, None, None, None], rgbx, factor)


def color(rgbx: Images, factor: Factor) -> None:
    """Blend with the image's `luma`."""
    grey = luma(rgbx)
    grey *= 0x010101  # the grey in each of three bytes
    _blend(grey[..., None].view(np.uint8).astype(np.float32), rgbx, factor)


def sharpness(rgbx: Images, factor: Factor) -> None:
    """Blend with `ImageFilter.SMOOTH`, which leaves the outermost pixels alone.

    Its kernel is 1 with 5 in the centre, divided by 13 and rounded. A sum of whole numbers plus 6.5 is never a multiple
    of 13, so the rounding of the division cannot matter.
    """
    if rgbx.shape[1] < 3 or rgbx.shape[2] < 3:
        return
    levels = rgbx.astype(np.int16)
    rows = levels[:, :-2] + levels[:, 1:-1]
    rows += levels[:, 2:]
    total = levels[:, 1:-1, 1:-1] * 4
    for column in range(3):
        total += rows[:, :, column : column + total.shape[2]]
    smooth = total.astype(np.float32)
    smooth += 6.5
    smooth *= 1 / 13
    np.floor(smooth, out=smooth)
    _blend(smooth, rgbx[:, 1:-1, 1:-1], factor)


def luma(rgbx: Images) -> NDArray[np.int32]:
    """(B, H, W, 4) uint8 -> (B, H, W) int32 in 0..255: PIL's `convert("L")`, ITU-R 601 in 16-bit fixed point."""
    pixels = rgbx.view(np.int32)[..., 0]
    grey = pixels & 0xFF
    grey *= 19595
    for shift, weight in ((8, 38470), (16, 7471)):
        channel = pixels >> shift
        channel &= 0xFF
        channel *= weight
        grey += channel
    grey += 0x8000
    grey >>= 16
    return grey


def _blend(degenerate: NDArray[Any], rgbx: Images, factor: Factor) -> None:
    blend = rgbx.astype(np.float32)
    blend -= degenerate
    blend *= factor
    blend += degenerate
    rgbx[...] = blend
