"""PIL's nearest-neighbour affine transforms (rotate, shear, translate), black outside, in its 16.16 fixed point.

A box is float32 x0, y0, x1, y1 in pixels; pixel i covers i..i+1.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ferbench.data.augment.operations import Operation

ONE = 1 << 16  # 1.0 in 16.16 fixed point


def matrices(kind: NDArray[np.int64], value: NDArray[np.float64], height: int, width: int) -> NDArray[np.int32]:
    """The transform of each draw: (..., 6) int32 from the operation `kind` (...) and its magnitude `value` (...).

    x_in = a * x + b * y + c and y_in = d * x + e * y + f in 16.16 fixed point, as `affine_fixed` in Pillow's
    libImaging/Geometry.c rounds them, the half pixel of the pixel centre included. The floats before rounding are
    those of `Image.rotate` (counter-clockwise degrees about width/2, height/2) and of `Image.transform` with
    (1, v, 0, 0, 1, 0) for ShearX and (1, 0, v * width, 0, 1, 0) for TranslateX. Other operations get the identity.
    """
    angle = np.where(kind == Operation.ROTATE, value % 360 * (math.pi / -180), 0)
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = width / 2, height / 2
    # Pillow does not round a pure translation to 1/65536 (ImagingScaleAffine): pixels move by a whole number.
    shift_x = np.where(kind == Operation.TRANSLATE_X, np.floor(value * width + 0.5), 0)
    shift_y = np.where(kind == Operation.TRANSLATE_Y, np.floor(value * height + 0.5), 0)
    b = np.where(kind == Operation.SHEAR_X, value, sine)
    c = cosine * -x + sine * -y + x + shift_x
    d = np.where(kind == Operation.SHEAR_Y, value, -sine)
    f = sine * x + cosine * -y + y + shift_y
    rows = np.stack((cosine, b, c + cosine * 0.5 + b * 0.5, d, cosine, f + d * 0.5 + cosine * 0.5), axis=-1)
    return np.floor(rows * ONE + 0.5).astype(np.int32)


def sources(matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the pixels of an image come from, of (..., 6) int32 `matrices`, on the same device.

    Pixel (x, y) comes from (rows[..., y, :] + columns[..., :, x]) >> 16, a pair (x, y) counted from 1, the first pixel
    of a border of one. rows: (..., 2, H, 1) int32, columns: (..., 2, 1, W) int32.
    """
    of_x, of_y, offset = matrix.unflatten(-1, (2, 3))[..., None].unbind(-2)
    x = torch.arange(width, device=matrix.device, dtype=torch.int32)
    y = torch.arange(height, device=matrix.device, dtype=torch.int32)
    return (of_y * y).add_(offset + ONE)[..., None], (of_x * x)[..., None, :]


def affine(pixels: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Transform contiguous (B, H, W) int32 pixels in place by their `sources`; what comes from outside becomes 0.

    The pixels are copied into the corner of a black square whose side is the longer side and a border of one:
    coordinates are clamped onto the border, which is cheaper than a mask.
    """
    count, height, width = pixels.shape
    side = max(height, width) + 2
    square = pixels.new_zeros((count, side, side))
    square[:, 1 : height + 1, 1 : width + 1] = pixels
    x, y = (rows + columns).bitwise_right_shift_(16).clamp_(0, side - 1).unbind(1)
    first = torch.arange(0, square.numel(), side * side, device=pixels.device, dtype=torch.int32)
    index = (x + first[:, None, None]).add_(y, alpha=side)
    torch.index_select(square.view(-1), 0, index.view(-1), out=pixels.view(-1))


def follow(boxes: Tensor, inverses: Tensor, height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): the smallest box around all four corners after a row of affine operations.

    `inverses` (rounds, B, 2, 3) say where the points of a result come from: x_in = a x + b y + c, in pixels. Clipped to
    the image; a box that has left it becomes empty at the border.
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = torch.stack((x0, y0, x1, y0, x0, y1, x1, y1), dim=1).view(-1, 4, 2)
    for inverse in inverses:
        # A point of the input lies where A p + c leads to it. Rotations and shears keep areas, so that det A is 1.
        a, b, c, d, e, f = inverse.flatten(1).to(boxes.dtype).unbind(1)
        x, y = corners[..., 0] - c[:, None], corners[..., 1] - f[:, None]
        corners = torch.stack((e[:, None] * x - b[:, None] * y, a[:, None] * y - d[:, None] * x), dim=-1)
    ends = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    # Not a tensor of both sizes: to send one to a GPU waits for it.
    return torch.stack((ends[:, 0::2].clamp(0, width), ends[:, 1::2].clamp(0, height)), dim=2).flatten(1)
