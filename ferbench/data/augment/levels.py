"""PIL's ImageOps that map the grey levels of each channel, on batches of (B, H, W, 4) uint8 images, in place."""

import torch
from torch import Tensor

_LEVELS = 256


def posterize(rgbx: Tensor, bits: Tensor) -> None:
    """Keep the upper bits; `bits` (B, 1, 1, 1) int16, 1..8."""
    rgbx.bitwise_and_((0xFF00 >> bits).to(torch.uint8))


def solarize(rgbx: Tensor, threshold: Tensor) -> None:
    """Invert the levels that are not below the threshold; `threshold` (B, 1, 1, 1) int16, 0..256."""
    invert = (rgbx >= threshold).view(torch.uint8)
    rgbx.bitwise_xor_(invert.neg_())  # with 0, or with 255 where inverted: x ^ 255 == 255 - x


def autocontrast(rgbx: Tensor) -> None:
    """Stretch each channel so that its darkest level becomes 0 and its lightest 255, in double precision."""
    rows = rgbx.flatten(2)  # (B, H, 4 W): long rows, as arithmetic with an inner dimension of 4 is slow
    low, high = _per_channel(rows.amin(1)).amin(1).double(), _per_channel(rows.amax(1)).amax(1).double()
    spread = high - low
    # A tensor as numerator, since "255.0 / tensor" would multiply by a rounded reciprocal. A channel of one level
    # stays as it is.
    scale = torch.where(spread > 0, torch.full_like(spread, 255) / spread, 1)
    offset = torch.where(spread > 0, -low * scale, 0)
    width = rgbx.shape[2]
    rows.copy_(rows.double().mul_(_per_row(scale, width)).add_(_per_row(offset, width)).int())


def equalize(rgbx: Tensor) -> None:
    """Flatten the histogram of each channel, by `ImageOps.equalize`'s table of whole numbers."""
    count, height, width, channels = rgbx.shape
    rows = rgbx.flatten(2)
    bins = count * channels * _LEVELS  # a histogram for each image and byte of a pixel
    first = torch.arange(0, bins, _LEVELS, device=rgbx.device, dtype=torch.int32).view(count, channels)
    index = (rows.int() + _per_row(first, width)).view(-1)
    position = index.long()
    histogram = torch.zeros(bins, device=rgbx.device, dtype=torch.int64)
    histogram.scatter_add_(0, position, torch.ones_like(position))
    histogram = histogram.view(count, channels, _LEVELS)

    lightest = _per_channel(rows.amax(1)).amax(1, keepdim=True).view(count, channels, 1).long()
    step = (height * width - histogram.gather(2, lightest)) // 255
    below = histogram.cumsum(2).sub_(histogram).add_(step // 2)
    # In double precision the quotient of these whole numbers has the right whole part, and vectorises.
    equalized = (below.double() / step.clamp(min=1)).int().clamp_(max=255)
    level = torch.arange(_LEVELS, device=rgbx.device, dtype=torch.int32)
    table = torch.where(step > 0, equalized, level).to(torch.uint8)
    torch.index_select(table.view(-1), 0, index, out=rows.view(-1))


def _per_channel(row: Tensor) -> Tensor:
    """(B, 4 W) -> (B, W, 4)."""
    return row.unflatten(1, (-1, 4))


def _per_row(channels: Tensor, width: int) -> Tensor:
    """One value per image and channel, (B, 4), repeated along a row: (B, 1, 4 * width)."""
    return channels.repeat(1, width)[:, None]
