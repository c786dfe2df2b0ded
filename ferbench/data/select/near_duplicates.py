"""Find training images, such as those of a pool, that are test images: equal pixels, or similar hashes."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.data.cache import read_sealed, write_sealed
from ferbench.data.image_hashes import Hashes, distances, hash_all, in_chunks, most_bits
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.stream_index import StreamIndex
from ferbench.data.select.splits import pool_rows
from ferbench.records.cell import digest
from ferbench.records.formats import OVERLAP_VERSION

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overlap:
    """Images of a pool that equal test images (`exact`) or look like them (`near`), and these test images.

    Each field is a sorted array of positions (int64); no image is both exact and near.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    exact_tests: NDArray[np.int64]
    near_tests: NDArray[np.int64]


def find_overlap(test_images: NDArray[np.uint8], pool: Iterable[Hashes]) -> Overlap:
    """Compare the hashes of a pool, given in chunks, with those of test images (N, S, S, 3) and their mirror images."""
    test, mirrored = hash_all(test_images), hash_all(test_images[:, :, ::-1])
    looks = np.concatenate([test.looks, mirrored.looks])
    tests: dict[bytes, list[int]] = {}
    for position, row in enumerate(test.pixels):
        tests.setdefault(row.tobytes(), []).append(position)
    exact, near = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    exact_tests, seen = np.zeros(len(test.looks), bool), np.zeros(len(looks), bool)
    start = 0
    for chunk in pool:
        same = np.array([row.tobytes() in tests for row in chunk.pixels], bool)
        for row in chunk.pixels[same]:
            exact_tests[tests[row.tobytes()]] = True
        looks_same = np.zeros(len(same), bool)
        for first, distance in distances(chunk.looks, looks):
            near_pairs = distance <= most_bits(test_images.shape[1])
            looks_same |= near_pairs.any(1)
            seen[first : first + distance.shape[1]] |= near_pairs.any(0)
        exact.append(start + same.nonzero()[0])
        near.append(start + (looks_same & ~same).nonzero()[0])
        start += len(same)
    near_tests = seen[: len(test.looks)] | seen[len(test.looks) :]
    return Overlap(
        np.concatenate(exact),
        np.concatenate(near),
        exact_tests.nonzero()[0],
        (near_tests & ~exact_tests).nonzero()[0],
    )


def source_rows(source: ImageStore | StreamIndex) -> NDArray[np.int64]:
    """The rows of a pool that may be used: all of a stream, the training and unlabeled ones of a packed dataset."""
    return np.arange(len(source)) if isinstance(source, StreamIndex) else np.array(pool_rows(source), np.int64)


def known_overlap(
    source: ImageStore | StreamIndex, rows: NDArray[np.int64], test: ImageStore, test_rows: list[int]
) -> Overlap:
    """The overlap as positions in `rows` (of a stream: all rows) and in `test_rows`; cached next to the source."""
    compared = hashlib.sha256(rows.tobytes()).hexdigest(), test.fingerprint, test_rows
    path = source.folder / f"overlap-{digest([OVERLAP_VERSION, *compared])[:16]}.json"
    if (known := _read_overlap(path)) is not None:
        return known
    hashes = source.hashes() if isinstance(source, StreamIndex) else in_chunks(source.images, rows)
    overlap = find_overlap(test.images[test_rows], hashes)
    write_sealed(path, {"overlap": {name: positions.tolist() for name, positions in asdict(overlap).items()}})
    return overlap


def _read_overlap(path: Path) -> Overlap | None:
    """The cached overlap, or None; logs a warning for a damaged file, which is then computed again."""
    try:
        found = read_sealed(path)["overlap"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: damaged (%s); comparing the images again", path, error)
        return None
    return Overlap(**{name: np.array(positions, np.int64) for name, positions in found.items()})
