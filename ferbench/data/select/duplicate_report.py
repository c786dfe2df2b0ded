"""Images that are in two splits of a dataset: as the same file, or as one that looks the same."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ferbench.data.image_hashes import CHUNK, find_near, in_chunks
from ferbench.data.load.image_store import ImageStore

SPLITS = ("test", "validation", "train", "unlabeled")
MOST_PAIRS = 4 * 10**9
"""Most pairs of images that are compared by their looks, in both directions; two minutes on two processors."""


@dataclass(frozen=True)
class Duplicate:
    """An image of one split that is also in another.

    `bits` is the number of differing bits of their hashes (of 256), None for equal files.
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
    """All duplicates, and the pairs of splits that are too large to be compared by looks."""

    found: list[Duplicate]
    not_compared: list[str]


def across_splits(packed: ImageStore) -> Duplicates:
    """Compare every split with every other: equal files, then looks, mirrored copies included.

    Each duplicated image is reported once per other split, with its first identical or its nearest similar image.
    """
    rows: dict[str, NDArray[np.int64]] = {
        split: np.array([i for i, s in enumerate(packed.splits) if s == split], np.int64) for split in SPLITS
    }
    pairs = list(combinations([split for split in SPLITS if len(rows[split])], 2))
    found = [
        Duplicate(first, packed.ids[row], second, packed.ids[other], None)
        for first, second in pairs
        for row, other in _same_files(packed, rows[first].tolist(), rows[second].tolist())
    ]
    not_compared = []
    for first, second in pairs:
        if len(rows[first]) * len(rows[second]) > MOST_PAIRS:
            not_compared.append(f"{first} and {second}")
            continue
        for (row, other), bits in _look_alikes(packed, rows[first], rows[second]).items():
            if packed.contents[row] != packed.contents[other]:
                found.append(Duplicate(first, packed.ids[row], second, packed.ids[other], bits))
    return Duplicates(found, not_compared)


def _same_files(packed: ImageStore, rows: list[int], others: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of rows with the same file, so that every such row appears; not all pairs, which may be millions."""
    mine, theirs = _by_content(packed, rows), _by_content(packed, others)
    for content in mine.keys() & theirs.keys():
        (first, *more), same = mine[content], theirs[content]
        yield from ((first, other) for other in same)
        yield from ((row, same[0]) for row in more)


def _by_content(packed: ImageStore, rows: list[int]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        found[packed.contents[row]].append(row)
    return found


def _look_alikes(
    packed: ImageStore, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> Mapping[tuple[int, int], int]:
    """Pairs of each row and the row of the other split that looks most like it, if near, with the differing bits."""
    mine = np.concatenate([_looks(packed, rows), _looks(packed, rows, mirrored=True)])
    theirs = _looks(packed, others)
    found: dict[tuple[int, int], int] = {}
    for position, nearest, bits in _near(theirs, mine, packed.image_size):
        pair = int(rows[nearest % len(rows)]), int(others[position])
        found[pair] = min(bits, found.get(pair, bits))
    for position, nearest, bits in _near(mine, theirs, packed.image_size):
        pair = int(rows[position % len(rows)]), int(others[nearest])
        found[pair] = min(bits, found.get(pair, bits))
    return found


def _looks(packed: ImageStore, rows: NDArray[np.int64], *, mirrored: bool = False) -> NDArray[np.uint64]:
    return np.concatenate([hashes.looks for hashes in in_chunks(packed.images, rows, mirrored=mirrored)])


def _near(looks: NDArray[np.uint64], others: NDArray[np.uint64], image_size: int) -> Iterator[tuple[int, int, int]]:
    """For each hash that is near one of the others: its position, the position of the nearest, the differing bits."""
    for start in range(0, len(looks), CHUNK):
        near, nearest, bits = find_near(looks[start : start + CHUNK], others, image_size)
        for position in near.tolist():
            yield start + position, int(nearest[position]), int(bits[position])
