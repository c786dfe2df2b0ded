"""The pixels of a packed folder: files on disk that are mapped into memory when they are read."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OPEN_PARTS = 64
"""Parts that stay mapped; each keeps a file open."""


class PackedImages:
    """N images, stored in parts (n, S, S, 3) uint8, one after another.

    Indexing with a row, rows or a slice reads only these images and returns a copy: (S, S, 3) or (M, S, S, 3) uint8.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts, self._open = parts, lru_cache(maxsize=OPEN_PARTS)(_mapped)
        shapes = [_shape(path) for path in parts]
        self._starts = np.cumsum([0, *(shape[0] for shape in shapes)])
        self.shape = int(self._starts[-1]), *(shapes[0][1:] if shapes else (0, 0, 3))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)} images")
        part = np.searchsorted(self._starts, wanted, side="right") - 1
        if wanted.ndim == 0:
            return np.array(self._open(self._parts[int(part)])[wanted - self._starts[part]])
        images = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for number in np.unique(part):
            mine = part == number
            images[mine] = self._open(self._parts[number])[wanted[mine] - self._starts[number]]
        return images


def _mapped(path: Path) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return images


def _shape(path: Path) -> tuple[int, ...]:
    """The shape in the header of a part that was checked before."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape: tuple[int, ...] = np.lib.format.read_array_header_1_0(file)[0]
        return shape
