"""Parts that several methods are made of: a module where there is state, a function where there is none.

All are static: shapes do not depend on values, and nothing waits for the device.
"""

from ferbench.blocks.alignment import DistributionAlignment
from ferbench.blocks.contrast import Projection, nt_xent, similarity
from ferbench.blocks.margin import ConfidenceMargin, MarginOptions
from ferbench.blocks.released_loop import ReleasedLoop, decay_state
from ferbench.blocks.selection import ranks, ranks_in_class, take_tokens
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
    "ReleasedLoop",
    "UnlabeledConfidence",
    "class_confidence",
    "decay_state",
    "nt_xent",
    "ranks",
    "ranks_in_class",
    "similarity",
    "take_tokens",
]
