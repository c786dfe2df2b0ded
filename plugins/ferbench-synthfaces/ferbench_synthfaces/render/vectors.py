"""Small vector algebra, written out term by term.

This is faster than matrix products and reductions for three columns, and independent of the BLAS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def dot(vectors: Floats, direction: Floats) -> Floats:
    """Scalar products of (..., 3) with one direction (3,)."""
    product: Floats = vectors[..., 0] * direction[0] + vectors[..., 1] * direction[1] + vectors[..., 2] * direction[2]
    return product


def length(vectors: Floats) -> Floats:
    """Lengths of (..., 3)."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    norm: Floats = np.sqrt(x * x + y * y + z * z)
    return norm


def unit(vectors: Floats) -> Floats:
    """(..., 3) scaled to length 1."""
    scaled: Floats = (vectors / length(vectors)[..., None]).astype(np.float32)
    return scaled
