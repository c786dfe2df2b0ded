"""Building blocks that several methods share: modules if they have state, functions if not.

All of them are static: shapes do not depend on values, and nothing waits for the device.
"""

from ferbench.blocks.alignment import DistributionAlignment, aligned
from ferbench.blocks.contrast import Projection, nt_xent, similarity
from ferbench.blocks.margin import ConfidenceMargin, MarginOptions
from ferbench.blocks.means import RecentMean, masked_mean
from ferbench.blocks.mixing import mixup
from ferbench.blocks.precision import full_precision
from ferbench.blocks.ramps import gaussian_ramp, linear_ramp
from ferbench.blocks.released_loop import ReleasedLoop, decay_state
from ferbench.blocks.selection import ranks, ranks_in_class, take_tokens
from ferbench.blocks.targets import one_hot, sharpen
from ferbench.blocks.thresholds import (
    ClassThresholds,
    DynamicThresholds,
    LearningStatus,
    UnlabeledConfidence,
    class_confidence,
)

__all__ = [
    "ClassThresholds",
    "ConfidenceMargin",
    "DistributionAlignment",
    "DynamicThresholds",
    "LearningStatus",
    "MarginOptions",
    "Projection",
    "RecentMean",
    "ReleasedLoop",
    "UnlabeledConfidence",
    "aligned",
    "class_confidence",
    "decay_state",
    "full_precision",
    "gaussian_ramp",
    "linear_ramp",
    "masked_mean",
    "mixup",
    "nt_xent",
    "one_hot",
    "ranks",
    "ranks_in_class",
    "sharpen",
    "similarity",
    "take_tokens",
]
