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
    libImaging/Geometry.c rounds them, with the half pixel of the pixel centre included. The floats before rounding are
    those of `Image.rotate` (counter-clockwise degrees about width/2, height/2) and of `Image.transform` with
    (1, v, 0, 0, 1, 0) for ShearX and (1, 0, v * width, 0, 1, 0) for TranslateX. Other operations get the identity.
    """
    angle = np.where(kind == Operation.ROTATE, value % 360 * (math.pi / -180), 0)
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = width / 2, height / 2
    # Pillow does not round a pure translation to 1/65536 (ImagingScaleAffine): pixels move by a whole number. (It adds
    # 1 to a float from pixel to pixel; if that is within some 1e-15 of half a pixel, a part may move by one more.)
    shift_x = np.where(kind == Operation.TRANSLATE_X, np.floor(value * width + 0.5), 0)
    shift_y = np.where(kind == Operation.TRANSLATE_Y, np.floor(value * height + 0.5), 0)
    b = np.where(kind == Operation.SHEAR_X, value, sine)
    c = cosine * -x + sine * -y + x + shift_x
    d = np.where(kind == Operation.SHEAR_Y, value, -sine)
    f = sine * x + cosine * -y + y + shift_y
    rows = np.stack((cosine, b, c + cosine * 0.5 + b * 0.5, d, cosine, f + d * 0.5 + cosine * 0.5), axis=-1)
    return np.floor(rows * ONE + 0.5).astype(np.int32)


def affine(rgbx: NDArray[np.uint8], matrix: NDArray[np.int32]) -> None:
    """Transform contiguous (B, H, W, 4) images in place by (B, 6) `matrices`; pixels from outside become 0.

    The pixels are copied into the corner of a black square. Its side is the longer side of the image plus a border of
    one. Coordinates are clamped onto the border, which is cheaper than a mask.
    """
    pixels = rgbx.view(np.int32)[..., 0]
    count, height, width = pixels.shape
    side = max(height, width) + 2
    square = np.zeros((count, side, side), np.int32)
    square[:, 1 : height + 1, 1 : width + 1] = pixels
    of_x, of_y, offset = matrix.reshape(-1, 2, 3, 1).transpose(2, 0, 1, 3)
    rows = of_y * np.arange(height, dtype=np.int32) + (offset + ONE)
    columns = of_x * np.arange(width, dtype=np.int32)
    places = np.add(rows[..., None], columns[:, :, None, :], dtype=np.int32)
    places >>= 16
    np.clip(places, 0, side - 1, out=places)
    index = places[:, 1]
    index *= side
    index += places[:, 0]
    index += np.arange(0, count * side * side, side * side, dtype=np.int32)[:, None, None]
    pixels[...] = square.ravel().take(index)


def shift_rows(rgbx: NDArray[np.uint8], matrix: NDArray[np.int32]) -> None:
    """The same as `affine`, for matrices that move whole rows, such as ShearX.

    Each row of a result is one contiguous run of memory in a padded array: a black row lies beside each row of the
    image and above all of them.
    """
    pixels = rgbx.view(np.int32)[..., 0]
    count, height, width = pixels.shape
    padded = np.zeros((count, height + 1, 2 * width), np.int32)
    padded[:, 1:, :width] = pixels
    of_y, offset = matrix.reshape(-1, 2, 3).transpose(2, 1, 0)[1:, :, :, None]
    x, y = (of_y * np.arange(height, dtype=np.int32) + offset) >> 16  # where the first pixel of each row comes from
    start = (y + 1) * (2 * width) + x.clip(-width, width)
    start[(y < 0) | (y >= height)] = 0
    start += np.arange(0, padded.size, padded[0].size, dtype=np.int32)[:, None]
    memory = torch.from_numpy(padded).view(-1)
    runs = memory.as_strided((memory.numel() - width + 1, width), (1, 1))  # every run of `width` pixels in the array
    out = torch.from_numpy(pixels).view(-1, width)
    torch.index_select(runs, 0, torch.from_numpy(start).view(-1), out=out)


def translate(rgbx: NDArray[np.uint8], matrix: NDArray[np.int32]) -> None:
    """The same as `affine`, for matrices that move all pixels by the same amount."""
    pixels = rgbx.view(np.int32)[..., 0]
    height, width = pixels.shape[1:]
    before = pixels.copy()
    pixels[...] = 0
    for image, seen, (dx, dy) in zip(pixels, before, (matrix[:, 2::3] >> 16).tolist(), strict=True):
        (y, from_y), (x, from_x) = overlap(dy, height), overlap(dx, width)
        image[y, x] = seen[from_y, from_x]


def overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Which pixels of a moved axis show others, and which others: pixel i shows pixel i + shift. Empty if none does."""
    shift = max(-length, min(shift, length))  # farther, nothing is seen either
    start, stop = max(0, -shift), min(length, length - shift)
    return slice(start, stop), slice(start + shift, stop + shift)


def follow(boxes: Tensor, inverses: Tensor, height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): the smallest box around all four corners after a row of affine operations.

    `inverses` (rounds, B, 2, 3) say where the points of a result come from: x_in = a x + b y + c, in pixels. The box is
    clipped to the image. A box outside the image becomes empty at the border.
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = torch.stack((x0, y0, x1, y0, x0, y1, x1, y1), dim=1).view(-1, 4, 2)
    for inverse in inverses:
        # A point p of the input moves to the point q with A q + c = p. Rotations and shears keep areas, so det A is 1.
        a, b, c, d, e, f = inverse.flatten(1).to(boxes.dtype).unbind(1)
        x, y = corners[..., 0] - c[:, None], corners[..., 1] - f[:, None]
        corners = torch.stack((e[:, None] * x - b[:, None] * y, a[:, None] * y - d[:, None] * x), dim=-1)
    ends = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    # Two clamps, not a tensor of both sizes: sending such a tensor to a GPU would wait for it.
    return torch.stack((ends[:, 0::2].clamp(0, width), ends[:, 1::2].clamp(0, height)), dim=2).flatten(1)
