"""Sparse vertex displacements ("shapes") and their weighted sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True)
class ShapeTable:
    """A family of S named shapes over the V vertices of the head, stored row by row like a CSR matrix."""

    names: tuple[str, ...]
    starts: NDArray[np.int64]  # (S + 1,) shape s owns the entries starts[s]:starts[s + 1]
    vertices: NDArray[np.int32]  # (entries,) vertex that an entry moves
    deltas: NDArray[np.float32]  # (entries, 3) displacement in dm

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each shape by name."""
        return {name: row for row, name in enumerate(self.names)}

    def add(self, mesh: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        """Add `weights` (S,) times the shapes to `mesh` (V, 3), in place."""
        _add_shapes(mesh, weights, self.starts, self.vertices, self.deltas)


# A plain loop instead of a matrix product: most weights are 0, and the result does not depend on the
# installed BLAS or its number of threads.
@njit(cache=True)
def _add_shapes(mesh, weights, starts, vertices, deltas):  # type: ignore[no-untyped-def]
    for shape in range(len(weights)):
        weight = weights[shape]
        if weight == 0.0:
            continue
        for entry in range(starts[shape], starts[shape + 1]):
            vertex = vertices[entry]
            for axis in range(3):
                mesh[vertex, axis] += weight * deltas[entry, axis]
