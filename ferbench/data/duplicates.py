"""Images that stand in two splits of a data set: the same file, or one that looks the same."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ferbench.data.overlap import find_near, hash_images, in_chunks
from ferbench.data.packed import Packed

SPLITS = ("test", "validation", "train", "unlabeled")
MOST_PAIRS = 4 * 10**9
"""Of images that are compared by their looks; a minute on two processors."""


@dataclass(frozen=True)
class Duplicate:
    """An image of one split that is in another.

    `bits` is by how many of 256 their looks differ, None for equal files.
    """

    split: str
    id: str
    other_split: str
    other_id: str
    bits: int | None

    @property
    def kind(self) -> str:
        return "the same file" if self.bits is None else f"looks the same ({self.bits} of 256 bits differ)"


@dataclass(frozen=True)
class Duplicates:
    """All of them, and the pairs of splits that are too large to be compared by looks."""

    found: list[Duplicate]
    not_compared: list[str]


def across_splits(packed: Packed) -> Duplicates:
    """Compare every split with every other: equal files, then looks, mirrored copies included."""
    rows: dict[str, NDArray[np.int64]] = {
        split: np.array([i for i, s in enumerate(packed.splits) if s == split], np.int64) for split in SPLITS
    }
    found = list(_same_files(packed))
    same = {(duplicate.id, duplicate.other_id) for duplicate in found}
    not_compared = []
    for first, second in combinations([split for split in SPLITS if len(rows[split])], 2):
        if len(rows[first]) * len(rows[second]) > MOST_PAIRS:
            not_compared.append(f"{first} and {second}")
            continue
        for row, other, bits in _look_alikes(packed, rows[first], rows[second]):
            if (pair := (packed.ids[row], packed.ids[other])) not in same:
                found.append(Duplicate(first, pair[0], second, pair[1], bits))
    return Duplicates(found, not_compared)


def _same_files(packed: Packed) -> Iterator[Duplicate]:
    by_content: dict[str, list[int]] = defaultdict(list)
    for row, content in enumerate(packed.contents):
        by_content[content].append(row)
    for rows in by_content.values():
        rows.sort(key=lambda row: SPLITS.index(packed.splits[row]))
        for row, other in combinations(rows, 2):
            if packed.splits[row] != packed.splits[other]:
                yield Duplicate(packed.splits[row], packed.ids[row], packed.splits[other], packed.ids[other], None)


def _look_alikes(packed: Packed, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Rows of the second split with the row of the first that looks most like them, where that is near."""
    looks = np.concatenate([hashes.looks for hashes in in_chunks(packed.images, rows)])
    mirrored = np.concatenate(
        [hash_images(packed.images[rows[start : start + 1024], :, ::-1]).looks for start in range(0, len(rows), 1024)]
    )
    start = 0
    for chunk in in_chunks(packed.images, others):
        near, nearest, bits = find_near(chunk.looks, np.concatenate([looks, mirrored]), packed.image_size)
        for position in near.tolist():
            yield int(rows[nearest[position] % len(rows)]), int(others[start + position]), int(bits[position])
        start += len(chunk.looks)
