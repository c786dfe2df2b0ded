"""RandAugment for a CPU: in each round, images that share an operation are processed together, within the cache."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ferbench.data.augment import enhance, levels
from ferbench.data.augment.geometry import affine, matrices, shift_rows, translate
from ferbench.data.augment.operations import Operation, RandAugmentParameters

_CACHED = 1 << 17  # bytes of images that are processed at a time: floats of their levels are four times as large

_GEOMETRY: dict[int, Callable[[NDArray[np.uint8], NDArray[np.int32]], None]] = {
    Operation.ROTATE: affine,
    Operation.SHEAR_X: shift_rows,
    Operation.TRANSLATE_X: translate,
}
_BLENDS: dict[int, Callable[[NDArray[np.uint8], NDArray[np.float32]], None]] = {
    Operation.BRIGHTNESS: enhance.brightness,
    Operation.CONTRAST: enhance.contrast,
    Operation.COLOR: enhance.color,
    Operation.SHARPNESS: enhance.sharpness,
}
_THRESHOLDS: dict[int, Callable[[NDArray[np.uint8], NDArray[np.int16]], None]] = {
    Operation.POSTERIZE: levels.posterize,
    Operation.SOLARIZE: levels.solarize,
}
_STATISTICS: dict[int, Callable[[NDArray[np.uint8]], None]] = {
    Operation.AUTOCONTRAST: levels.autocontrast,
    Operation.EQUALIZE: levels.equalize,
}
# The functions above treat some operations as one: the number in `Operation` that stands for each.
_SHARED = np.arange(len(Operation))
_SHARED[Operation.SHEAR_Y] = Operation.ROTATE
_SHARED[Operation.TRANSLATE_Y] = Operation.TRANSLATE_X


def apply(rgbx: Tensor, parameters: RandAugmentParameters) -> Tensor:
    """(B, H, W, 4) uint8 -> the same images, changed in place: one round of `parameters` after the other."""
    images = rgbx.numpy()
    height, width = images.shape[1:3]
    kind, value = parameters.operation.numpy(), parameters.magnitude.numpy()
    matrix = matrices(kind, value, height, width)
    factor = value.astype(np.float32)
    # A level, a whole number, is below a threshold if it is below the threshold rounded up.
    whole = np.where(kind == Operation.SOLARIZE, np.ceil(value), value).astype(np.int16)
    at_once = max(1, _CACHED // max(1, height * width * 4))
    for step in range(len(kind)):
        for operation, rows in _groups(kind[step], at_once):
            part = images[rows]
            if operation in _GEOMETRY:
                _GEOMETRY[operation](part, matrix[step, rows])
            elif operation in _BLENDS:
                _BLENDS[operation](part, factor[step, rows][:, None, None, None])
            elif operation in _THRESHOLDS:
                _THRESHOLDS[operation](part, whole[step, rows][:, None, None, None])
            elif operation in _STATISTICS:
                _STATISTICS[operation](part)
            if not isinstance(rows, slice):
                images[rows] = part
    return rgbx


def _groups(kind: NDArray[np.int64], at_once: int) -> Iterator[tuple[int, Any]]:
    """An operation with at most `at_once` of its images. A single image comes as a slice, which needs no copy."""
    shared = _SHARED[kind]
    order = np.argsort(shared, kind="stable")
    ends = np.searchsorted(shared[order], np.arange(len(Operation) + 1))
    for operation in range(Operation.IDENTITY):
        for start in range(ends[operation], ends[operation + 1], at_once):
            rows = order[start : min(start + at_once, ends[operation + 1])]
            yield operation, rows if len(rows) > 1 else slice(rows[0], rows[0] + 1)
