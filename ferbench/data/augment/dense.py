"""RandAugment for a GPU: each image goes through every kind of operation and keeps the result of its own operation.

So a round of operations takes a fixed number of kernels, whatever was drawn, and nothing waits for the device. A round
has one gather for geometry, one table per image and channel for operations on levels, and one blend with a degenerate
image for enhancements. `grouped.py` does the same on a CPU, operation by operation. Both equal PIL bit by bit.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ferbench.data.augment.geometry import ONE, matrices
from ferbench.data.augment.operations import Operation, RandAugmentParameters

_LEVELS = 256
_NEVER = 1 << 62  # a divisor so large that any count divided by it is 0


class Plan(NamedTuple):
    """R rounds of B images: arrays on the host, which become tensors on the device."""

    matrix: Any  # (R, B, 2, 3) int32, the result of `matrices`
    factor: Any  # (R, B) float32, the factor of enhancements; 1 for other operations
    color: Any  # (R, B) bool
    sharpness: Any  # (R, B) bool
    autocontrast: Any  # (R, B) bool
    equalize: Any  # (R, B) bool
    table: Any  # (R, B) int64, the row of `tables` for the operation; a row without effect for other operations
    grey_divisor: Any  # (R, B) int64, divides the sum of grey levels
    count_divisor: Any  # (R, B) int64, divides the number of pixels below the lightest level
    numerator: Any  # (R, B) float64, to be divided by the spread of levels or by the step of equalize
    offset: Any  # (R, B) float64, added to the value from a table before the fraction is dropped
    tables: Any  # (K, 256) uint8
    steps: Any  # (max(256, H, W),) int32: 0, 1, 2 ...
    first_pixel: Any  # (B,) int32, the place of each image's first pixel in the batch
    first_level: Any  # (B, 4) int64, the place of each channel's table in the tables of the batch
    limits: Any  # (2, 2, 1, 1) int16: the lowest and the highest x and y
    edge: Any  # (H, W) bool, the outermost pixels
    half: Any  # (1,) int32, one half in 16.16 fixed point
    minus_quarter: Any  # (1,) float64
    one: Any  # (1,) int64


def prepare(parameters: RandAugmentParameters, height: int, width: int) -> Plan:
    """The plan that a device needs for the draws, for images of one size."""
    kind, value = parameters.operation.numpy(), parameters.magnitude.numpy()
    count, pixels = kind.shape[1], height * width
    enhanced = (kind >= Operation.BRIGHTNESS) & (kind <= Operation.SHARPNESS)
    autocontrast, equalize = kind == Operation.AUTOCONTRAST, kind == Operation.EQUALIZE
    edge = np.ones((height, width), bool)
    edge[1:-1, 1:-1] = False
    return Plan(
        matrix=matrices(kind, value, height, width).reshape(*kind.shape, 2, 3),
        factor=np.where(enhanced, value, 1).astype(np.float32),
        color=kind == Operation.COLOR,
        sharpness=kind == Operation.SHARPNESS,
        autocontrast=autocontrast,
        equalize=equalize,
        table=_table_of(kind, value),
        grey_divisor=np.where(kind == Operation.CONTRAST, pixels, _NEVER),
        count_divisor=np.where(equalize, 255, _NEVER),
        numerator=np.where(autocontrast, 255.0, 1.0),
        offset=np.where(equalize, 0.5, 0.0),
        tables=_TABLES,
        steps=np.arange(max(_LEVELS, height, width), dtype=np.int32),
        first_pixel=np.arange(count, dtype=np.int32) * pixels,
        first_level=np.arange(0, count * 4 * _LEVELS, _LEVELS).reshape(count, 4),
        limits=np.array([[0, 0], [width - 1, height - 1]], np.int16).reshape(2, 2, 1, 1),
        edge=edge,
        half=np.array([0x8000], np.int32),
        minus_quarter=np.array([-0.25]),
        one=np.array([1]),
    )


def apply(rgbx: Tensor, plan: Plan) -> Tensor:
    """(B, H, W, 4) uint8 -> new (B, H, W, 4) uint8: all rounds of the plan. Images and plan lie on the same device."""
    count, height, width, _ = rgbx.shape
    source, inside = _sources(plan, height, width)
    tables = plan.tables[plan.table]
    for step in range(len(plan.table)):
        pixels = rgbx.view(torch.int32).view(-1).index_select(0, source[step].view(-1))
        pixels = pixels.view(count, height, width, 1).mul_(inside[step][..., None])
        rgbx = _mapped(pixels.view(torch.uint8), tables[step], plan, step)
        rgbx = _enhanced(rgbx, plan, step)
    return rgbx


def _sources(plan: Plan, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where pixels come from: (R, B, H, W) int32 positions in the batch, and bool whether a pixel is in the image."""
    x, y = plan.steps[:width], plan.steps[:height]
    rows = torch.addcmul(plan.matrix[..., 2:], plan.matrix[..., 1:2], y)
    columns = plan.matrix[..., :1] * x
    # The upper half of a number in 16.16 fixed point is the whole pixel.
    places = (rows[..., None] + columns[..., None, :]).view(torch.int16)[..., 1::2]
    nearest = torch.clamp(places, plan.limits[0], plan.limits[1])
    of_x, of_y = (places == nearest).unbind(2)
    x, y = nearest.unbind(2)
    return torch.add(plan.first_pixel[:, None, None], y, alpha=width).add_(x), of_x & of_y


def _mapped(rgbx: Tensor, fixed: Tensor, plan: Plan, step: int) -> Tensor:
    """Map each level by the table of its image and channel; `fixed` (B, 256) are the tables that need no statistics.

    A table from statistics is `start * scale + shift`, clamped to 0..255. For autocontrast this is PIL's own formula.
    For equalize it is the quotient of whole numbers (below + step // 2) // step, which is at least 1 / (4 step) away
    from the next whole number.
    """
    count = len(rgbx)
    channels = rgbx.flatten(1, 2)
    index = channels + plan.first_level[:, None]
    counts = _counts(index, count * 4 * _LEVELS, plan.one).view(count, 4, _LEVELS)
    below = counts.cumsum(2) - counts
    low, high = torch.aminmax(channels, dim=1)
    below_lightest = below.view(-1)[high + plan.first_level]
    autocontrast, equalize = plan.autocontrast[step][:, None], plan.equalize[step][:, None]
    # The spread of levels, or equalize's step. It is 0 for a channel with one level and for other operations.
    extent = torch.where(autocontrast, high - low, below_lightest // plan.count_divisor[step][:, None])
    scale = plan.numerator[step][:, None] / extent
    shift = torch.addcmul(
        plan.offset[step][:, None], torch.where(autocontrast, low, plan.minus_quarter), scale, value=-1
    )
    start = torch.where(equalize[..., None], below, plan.steps[:_LEVELS])
    table = (start * scale[..., None]).add_(shift[..., None]).clamp_(0, 255)
    table = torch.where((extent > 0)[..., None], table, fixed[:, None]).to(torch.uint8)
    return table.view(-1).index_select(0, index.view(-1)).view(rgbx.shape)


def _enhanced(rgbx: Tensor, plan: Plan, step: int) -> Tensor:
    """Blend each image with a degenerate one: degenerate + factor * (image - degenerate), the fraction dropped.

    Product and sum are rounded separately, as in PIL. Without an enhancement the degenerate image is black and the
    factor is 1.
    """
    grey = torch.add(plan.half, rgbx[..., 0], alpha=19595)
    grey = grey.add_(rgbx[..., 1], alpha=38470).add_(rgbx[..., 2], alpha=7471).view(torch.int16)[..., 1::2]
    mean = (grey.sum((1, 2)) + plan.edge.numel() // 2) // plan.grey_divisor[step]
    flat = torch.where(_per_image(plan.color, step), grey[..., None], mean[:, None, None, None])
    # The 0.5 that is added to each level becomes (9 + 4) / 13 / 2 = 0.5 in the sum: the half of rounding.
    levels = rgbx + 0.5
    sums = F.avg_pool2d(levels.permute(0, 3, 1, 2), 3, 1, padding=1, divisor_override=13).permute(0, 2, 3, 1)
    smooth = torch.where(plan.edge[..., None], rgbx, torch.add(sums, levels, alpha=4 / 13))
    degenerate = torch.where(_per_image(plan.sharpness, step), smooth, flat).trunc_()
    return (rgbx - degenerate).mul_(_per_image(plan.factor, step)).add_(degenerate).to(torch.uint8)


def _per_image(values: Tensor, step: int) -> Tensor:
    return values[step][:, None, None, None]


def _counts(index: Tensor, places: int, one: Tensor) -> Tensor:
    """(places,) int64: how often each place occurs in `index`, int64 below `places`.

    On a GPU the deterministic mode of `index_add_` sorts. A sum of whole numbers is the same in any order, so `histc`
    does.
    """
    if index.is_cuda:
        return torch.histc(index, places, 0, places)
    return index.new_zeros(places).index_add_(0, index.view(-1), one.expand(index.numel()))


def _table_of(kind: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row of `_TABLES` for each draw."""
    solarize = np.where(kind == Operation.SOLARIZE, np.ceil(value), 256).astype(np.int64)
    return np.where(kind == Operation.POSTERIZE, 257 + value.astype(np.int64), solarize)


def _fixed_tables() -> NDArray[np.uint8]:
    """Solarize at thresholds 0 to 256 (256 changes nothing), then posterize to 0 to 8 bits."""
    levels = np.arange(_LEVELS)
    solarized = np.where(levels < np.arange(257)[:, None], levels, 255 - levels)
    posterized = levels & (-0x100 >> np.arange(9)[:, None])
    return np.concatenate((solarized, posterized)).astype(np.uint8)


_TABLES = _fixed_tables()

assert ONE == 1 << 16, "the upper half of 16.16 fixed point is read as a whole number"
