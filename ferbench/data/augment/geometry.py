"""PIL's nearest-neighbour affine transforms (rotate, shear, translate), black outside, in its 16.16 fixed point."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ferbench.data.augment.operations import Operation

_ONE = 1 << 16  # 1.0 in 16.16 fixed point


class Sources(NamedTuple):
    """Where the pixels of an image come from, as sums of a part per row and a part per column.

    In 16.16 fixed point and counted from 1, the first pixel of a border of one: the source of pixel (x, y) lies at
    ((x_row[y] + x_column[x]) >> 16, (y_row[y] + y_column[x]) >> 16).
    """

    x_row: Tensor  # (..., H, 1) int32
    x_column: Tensor  # (..., 1, W) int32
    y_row: Tensor  # (..., H, 1) int32
    y_column: Tensor  # (..., 1, W) int32


def matrices(operation: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """The transform of each draw: (..., 6) int32 from `operation` (...) int64 and `magnitude` (...) float64.

    x_in = a * x + b * y + c and y_in = d * x + e * y + f in 16.16 fixed point, as `affine_fixed` in Pillow's
    libImaging/Geometry.c rounds them, the half pixel of the pixel centre included. The floats before rounding are
    those of `Image.rotate` (counter-clockwise degrees about width/2, height/2) and of `Image.transform` with
    (1, v, 0, 0, 1, 0) for ShearX and (1, 0, v * width, 0, 1, 0) for TranslateX. Other operations get the identity.
    """
    zero = torch.zeros_like(magnitude)
    angle = torch.where(operation == Operation.ROTATE, magnitude % 360 * (math.pi / -180), zero)
    cosine, sine = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    # Pillow does not round a pure translation to 1/65536 (ImagingScaleAffine): pixels move by a whole number.
    shift_x = torch.where(operation == Operation.TRANSLATE_X, (magnitude * width + 0.5).floor_(), zero)
    shift_y = torch.where(operation == Operation.TRANSLATE_Y, (magnitude * height + 0.5).floor_(), zero)
    b = torch.where(operation == Operation.SHEAR_X, magnitude, sine)
    c = cosine * -x + sine * -y + x + shift_x
    d = torch.where(operation == Operation.SHEAR_Y, magnitude, -sine)
    f = sine * x + cosine * -y + y + shift_y
    rows = torch.stack((cosine, b, c + cosine * 0.5 + b * 0.5, d, cosine, f + d * 0.5 + cosine * 0.5), dim=-1)
    return rows.mul_(_ONE).add_(0.5).floor_().int()


def sources(matrix: Tensor, height: int, width: int) -> Sources:
    """(..., 6) int32 `matrices` -> the sources of every pixel, on the same device."""
    a, b, c, d, e, f = matrix[..., None].unbind(-2)
    x = torch.arange(width, device=matrix.device, dtype=torch.int32)
    y = torch.arange(height, device=matrix.device, dtype=torch.int32)
    x_row, y_row = (b * y).add_(c + _ONE), (e * y).add_(f + _ONE)
    return Sources(x_row[..., None], (a * x)[..., None, :], y_row[..., None], (d * x)[..., None, :])


def affine(pixels: Tensor, source: Sources) -> None:
    """Transform contiguous (B, H, W) int32 pixels in place; what comes from outside becomes 0.

    Outside means the border of black pixels, onto which coordinates are clamped: cheaper than a mask.
    """
    count, height, width = pixels.shape
    bordered = pixels.new_zeros((count, height + 2, width + 2))
    bordered[:, 1:-1, 1:-1] = pixels
    x = (source.x_row + source.x_column).bitwise_right_shift_(16).clamp_(0, width + 1)
    y = (source.y_row + source.y_column).bitwise_right_shift_(16).clamp_(0, height + 1)
    size = (height + 2) * (width + 2)
    first = torch.arange(0, count * size, size, device=pixels.device, dtype=torch.int32)
    index = x.add_(y, alpha=width + 2).add_(first[:, None, None])
    torch.index_select(bordered.view(-1), 0, index.view(-1), out=pixels.view(-1))
