"""Scalar curves for the procedural paint and the lighting."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@overload
def smoothstep(low: float, high: float, x: float) -> float: ...
@overload
def smoothstep(low: float, high: float, x: Array) -> Array: ...
def smoothstep(low: float, high: float, x: float | Array) -> float | Array:
    """0 below `low`, 1 above `high`, a smooth cubic in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def line(distance: Array, width: float) -> Array:
    """A soft line: 1 where `distance` is 0, falling to 1/e at `width`."""
    scaled = distance / width
    return np.exp(-scaled * scaled)


def spot(x: Array, y: Array, centre: tuple[float, float], radius: tuple[float, float]) -> Array:
    """A soft elliptic spot, 1 at its centre."""
    u, v = (x - centre[0]) / radius[0], (y - centre[1]) / radius[1]
    return np.exp(-(u * u + v * v))


def blend(below: Array, above: Array, weight: Array) -> Array:
    """Paint `above` over `below` (both (N, 3) or broadcastable) with an opacity (N,) in 0..1."""
    opacity = weight[:, None]
    return below + (above - below) * opacity
