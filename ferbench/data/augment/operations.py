"""The fourteen operations of RandAugment, their magnitudes, and a type for what was drawn."""

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor


class Operation(IntEnum):
    """An operation. Operations that share arithmetic are neighbours in this order.

    So the five operations of geometry, and also contrast and color, are one slice of a batch sorted by operation.
    """

    # geometry
    ROTATE = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    # enhance
    BRIGHTNESS = 5
    CONTRAST = 6
    COLOR = 7
    SHARPNESS = 8
    # levels
    POSTERIZE = 9
    SOLARIZE = 10
    AUTOCONTRAST = 11
    EQUALIZE = 12
    # nothing
    IDENTITY = 13


# The interval from which each magnitude is drawn uniformly; (0, 0) if the operation has none.
# Source: `augmentation/randaugment.py` in the FixMatch ports of kekmodel, Ada-CM and LEAF.
MAGNITUDES: dict[Operation, tuple[float, float]] = {
    Operation.ROTATE: (-30, 30),  # degrees, counter-clockwise
    Operation.SHEAR_X: (-0.3, 0.3),  # pixels of x per pixel of y
    Operation.SHEAR_Y: (-0.3, 0.3),
    Operation.TRANSLATE_X: (-0.3, 0.3),  # share of the width; positive moves the content left
    Operation.TRANSLATE_Y: (-0.3, 0.3),  # share of the height; positive moves the content up
    Operation.BRIGHTNESS: (0.05, 0.95),  # factor of PIL's ImageEnhance: 0 degenerate, 1 unchanged
    Operation.CONTRAST: (0.05, 0.95),
    Operation.COLOR: (0.05, 0.95),
    Operation.SHARPNESS: (0.05, 0.95),
    Operation.POSTERIZE: (4, 8),  # the integer part is the number of bits kept
    Operation.SOLARIZE: (0, 256),  # a grey level i stays where i < magnitude, else becomes 255 - i
    Operation.AUTOCONTRAST: (0, 0),
    Operation.EQUALIZE: (0, 0),
    Operation.IDENTITY: (0, 0),
}


@dataclass(frozen=True)
class RandAugmentParameters:
    """RandAugment's operations for each image, round by round; CPU tensors."""

    operation: Tensor  # (rounds, B) int64, values of `Operation`
    magnitude: Tensor  # (rounds, B) float64, in the unit of `MAGNITUDES`

    def __getitem__(self, part: slice) -> "RandAugmentParameters":
        return RandAugmentParameters(self.operation[:, part], self.magnitude[:, part])
