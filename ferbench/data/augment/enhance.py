"""PIL's ImageEnhance on batches: an image blended with a degenerate version of itself, in place.

Images are (B, H, W, 4) uint8 and `factor` is (B, 1, 1, 1) float32: 0 gives the degenerate image, 1 the image itself.
`ImagingBlend` in Pillow's libImaging/Blend.c computes degenerate + factor * (image - degenerate) in float32 and drops
the fraction. Here product and sum stay apart too: fused (lerp, addcmul) they would be rounded once, not twice.
"""

from ferbench.data.augment.arrays import Array, cast, library, reinterpret


def brightness(rgbx: Array, factor: Array) -> None:
    """Blend with black."""
    rgbx[...] = rgbx * factor


def contrast_color(rgbx: Array, factor: Array, contrasts: int) -> None:
    """Blend the first `contrasts` images with the mean of their `luma`, rounded half up, the rest with their `luma`."""
    grey = luma(rgbx)
    pixels = grey.shape[1] * grey.shape[2]
    mean = (grey[:contrasts].sum((1, 2)) * 2 + pixels) // (2 * pixels)
    grey[:contrasts] = mean[:, None, None]
    _blend(reinterpret((grey * 0x010101)[..., None], "uint8"), rgbx, factor)  # the grey in each of three bytes


def sharpness(rgbx: Array, factor: Array) -> None:
    """Blend with `ImageFilter.SMOOTH`, which leaves the outermost pixels alone.

    Its kernel is 1 with 5 in the centre, divided by 13 and rounded. A sum of whole numbers plus 6.5 is never a
    multiple of 13, so how the division is rounded cannot matter.
    """
    if rgbx.shape[1] < 3 or rgbx.shape[2] < 3:
        return
    levels = cast(rgbx, "int16")
    rows = levels[:, :-2] + levels[:, 1:-1]
    rows += levels[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1]
    total += rows[:, :, 2:]
    total += levels[:, 1:-1, 1:-1] * 4
    smooth = cast(total, "float32")
    smooth += 6.5
    smooth *= 1 / 13
    _blend(library(smooth).floor(smooth), rgbx[:, 1:-1, 1:-1], factor)


def luma(rgbx: Array) -> Array:
    """(B, H, W, 4) uint8 -> (B, H, W) int32 in 0..255: PIL's `convert("L")`, ITU-R 601 in 16-bit fixed point."""
    grey = cast(rgbx[..., 0], "int32") * 19595
    grey += cast(rgbx[..., 1], "int32") * 38470
    grey += cast(rgbx[..., 2], "int32") * 7471
    grey += 0x8000
    grey >>= 16
    return grey


def _blend(degenerate: Array, rgbx: Array, factor: Array) -> None:
    blend = cast(rgbx, "float32")
    blend -= degenerate
    blend *= factor
    blend += degenerate
    rgbx[...] = blend
