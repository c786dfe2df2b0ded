"""PIL's ImageOps that map the grey levels of each channel, on batches of (B, H, W, 4) uint8 images, in place."""

from ferbench.data.augment.arrays import Array, cast, histogram, library, lookup, reinterpret, steps

_LEVELS = 256


def posterize(rgbx: Array, bits: Array) -> None:
    """Keep the upper bits; `bits` (B, 1, 1, 1) int16, 1..8."""
    rgbx &= cast(-0x100 >> bits, "uint8")


def solarize(rgbx: Array, threshold: Array) -> None:
    """Invert the levels that are not below the threshold; `threshold` (B, 1, 1, 1) int16, 0..256."""
    invert = rgbx >= threshold
    rgbx ^= reinterpret(invert, "uint8") * 255  # x ^ 255 == 255 - x


def autocontrast(rgbx: Array) -> None:
    """Stretch each channel so that its darkest level becomes 0 and its lightest 255, in double precision."""
    rows = _long_rows(rgbx)
    low, high = _extremes(rows)
    several = high > low  # a channel of one level stays as it is
    xp = library(rgbx)
    low = xp.where(several, low, 0.0)
    spread = xp.where(several, high - low, 255.0)
    scale = xp.full_like(spread, 255) / spread  # in PyTorch "255 / spread" multiplies by a rounded reciprocal
    stretched = cast(rows, "float64")
    stretched *= _per_row(scale, rows)
    stretched -= _per_row(low * scale, rows)
    rows[...] = stretched


def equalize(rgbx: Array) -> None:
    """Spread the levels of each channel by their counts, by `ImageOps.equalize`'s table of whole numbers."""
    rows = _long_rows(rgbx)
    xp = library(rgbx)
    tables = len(rgbx) * 4  # one for each image and byte of a pixel
    index = cast(rows, "int64")
    index += _per_row(steps(tables, _LEVELS, rgbx).reshape(-1, 4), rows)
    counts = histogram(index, tables * _LEVELS).reshape(tables, _LEVELS)
    below = xp.cumsum(counts, 1) - counts
    # What lies below the lightest level that occurs; 0 for a channel of one level.
    step = xp.amax(below * (counts > 0), 1)[:, None] // 255
    equalized = ((below + step // 2) // step.clip(1)).clip(0, 255)
    table = cast(xp.where(step > 0, equalized, steps(_LEVELS, 1, rgbx)), "uint8")
    rows[...] = lookup(table.reshape(-1), index)


def _long_rows(rgbx: Array) -> Array:
    """View (B, H, W, 4) as (B, H, 4 W), since arithmetic with an inner dimension of 4 is slow."""
    count, height, width, channels = rgbx.shape
    return rgbx.reshape(count, height, width * channels)


def _per_row(channels: Array, rows: Array) -> Array:
    """One value per image and channel, (B, 4), repeated along `rows`: (B, 1, 4 W)."""
    return library(rows).tile(channels, (1, rows.shape[2] // 4))[:, None]


def _extremes(rows: Array) -> tuple[Array, Array]:
    """The lowest and the highest level of each image and channel, (B, 4) float64 each."""
    xp = library(rows)
    pixels = (len(rows), rows.shape[2] // 4, 4)
    low = xp.amin(xp.amin(rows, 1).reshape(pixels), 1)
    high = xp.amax(xp.amax(rows, 1).reshape(pixels), 1)
    return cast(low, "float64"), cast(high, "float64")
