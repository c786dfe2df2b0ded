"""PIL's ImageOps that map the grey levels of each channel, on batches of (B, H, W, 4) uint8 images, in place."""

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
PerImage = NDArray[np.int16]

_LEVELS = 256


def posterize(rgbx: Images, bits: PerImage) -> None:
    """Keep the upper bits; `bits` (B, 1, 1, 1), 1..8."""
    rgbx &= (-0x100 >> bits).astype(np.uint8)


def solarize(rgbx: Images, threshold: PerImage) -> None:
    """Invert the levels at or above the threshold; `threshold` (B, 1, 1, 1), 0..256."""
    invert = (rgbx >= np.minimum(threshold, 255).astype(np.uint8)).view(np.uint8)
    invert *= np.where(threshold < _LEVELS, np.uint8(255), np.uint8(0))
    rgbx ^= invert  # x ^ 255 == 255 - x


def autocontrast(rgbx: Images) -> None:
    """Stretch each channel so that its darkest level becomes 0 and its lightest 255, in double precision."""
    channels = _channels(rgbx)
    low, high = channels.min(2, keepdims=True).astype(np.float64), channels.max(2, keepdims=True)
    several = high > low  # a channel of one level stays as it is
    scale = np.where(several, 255 / np.where(several, high - low, 1), 1)
    low[~several] = 0
    _map(rgbx, channels, (np.arange(_LEVELS) * scale - low * scale).clip(0, 255))


def equalize(rgbx: Images) -> None:
    """Spread the levels of each channel by their counts, with the whole-number table of `ImageOps.equalize`."""
    channels = _channels(rgbx)
    flat = channels.reshape(-1, channels.shape[2])
    counts = np.stack([np.bincount(each, minlength=_LEVELS) for each in flat]).reshape(*channels.shape[:2], _LEVELS)
    below = counts.cumsum(2) - counts
    # The number of pixels below the lightest level that occurs; 0 for a channel of one level.
    step = (below * (counts > 0)).max(2, keepdims=True) // 255
    equalized = (below + step // 2) // step.clip(1)
    _map(rgbx, channels, np.where(step > 0, equalized, np.arange(_LEVELS)).clip(0, 255))


def _channels(rgbx: Images) -> NDArray[np.uint8]:
    """(B, 3, H * W): the levels of each channel side by side."""
    channels = np.empty((len(rgbx), 3, rgbx.shape[1] * rgbx.shape[2]), np.uint8)
    for channel in range(3):
        channels[:, channel].reshape(rgbx.shape[:3])[...] = rgbx[..., channel]
    return channels


def _map(rgbx: Images, channels: NDArray[np.uint8], tables: NDArray[np.float64] | NDArray[np.int64]) -> None:
    """Map `_channels` by `tables` (B, 3, 256), whose fractions are dropped, and write the result into the images."""
    size = rgbx.shape[1:3]
    for image, levels, table in zip(rgbx, channels, tables.astype(np.uint8), strict=True):
        for channel in range(3):
            mapped = levels[channel].tobytes().translate(table[channel].tobytes())
            image[..., channel] = np.frombuffer(mapped, np.uint8).reshape(size)
