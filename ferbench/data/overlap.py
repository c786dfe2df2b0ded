"""Whether training images, such as those of a pool, are test images: equal pixels, and perceptual hashes that are near.

The perceptual hash is pHash (Zauner 2010) with 256 bits in place of 64. Aligned faces look alike at low frequencies:
among SynthFaces' 3,100 test images and the 8,000 of SynthFaces-FR, which show other people, 64 bits come as near as 2,
where JPEG of quality 50 is 8 away. With 256 bits other people stay at 42 or more; JPEG of quality 50, half the size
and a change of brightness or contrast stay below 27, and a mirrored copy is compared as well. A crop by more than a
fiftieth of the width is beyond its reach.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

FREQUENCIES = 16
NEAR = 1 / 8  # of the bits
GREY = (0.299, 0.587, 0.114)
CHUNK = 1024
PIXELS = 2**21
"""That are looked at at a time, as 24 bytes each."""


@dataclass(frozen=True)
class Hashes:
    """What N images are compared by.

    `pixels` (N, 32) uint8 is the SHA-256 of the decoded bytes, `looks` (N, 4) uint64 the perceptual hash.
    """

    pixels: NDArray[np.uint8]
    looks: NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Images of a pool that are test images or only look like one, and the test images that these are or look like.

    Each is a sorted array of positions (int64); no image is both exact and near.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    exact_tests: NDArray[np.int64]
    near_tests: NDArray[np.int64]


def hash_images(images: NDArray[np.uint8]) -> Hashes:
    """The hashes of images (N, S, S, 3)."""
    digests = b"".join(sha256(image.tobytes()).digest() for image in images)
    return Hashes(np.frombuffer(digests, np.uint8).reshape(-1, 32), _signature(_low_frequencies(images)))


def in_chunks(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> Iterator[Hashes]:
    """The hashes of some rows of a memory map, so many at a time that memory stays flat."""
    count = max(1, PIXELS // images.shape[1] ** 2)
    for start in range(0, len(rows), count):
        yield hash_images(images[rows[start : start + count]])


def find_overlap(test_images: NDArray[np.uint8], pool: Iterable[Hashes]) -> Overlap:
    """Compare the hashes of a pool, in chunks, with those of test images (N, S, S, 3) and of their mirror images."""
    test, mirrored = _hash_all(test_images), _hash_all(test_images[:, :, ::-1])
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
        for first, distance in _distances(chunk.looks, looks):
            near_pairs = distance <= _most(test_images.shape[1])
            looks_same |= near_pairs.any(1)
            seen[first : first + CHUNK] |= near_pairs.any(0)
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


def _hash_all(images: NDArray[np.uint8]) -> Hashes:
    parts = [hash_images(images[:0]), *in_chunks(images, np.arange(len(images)))]
    return Hashes(np.concatenate([part.pixels for part in parts]), np.concatenate([part.looks for part in parts]))


def _low_frequencies(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The lowest cosines (N, F, F) of the grey images; float64, so that machines agree on the bits."""
    grey = images.astype(np.float64) @ np.array(GREY)
    basis = dct(np.eye(images.shape[1]), axis=0, norm="ortho")[:FREQUENCIES]
    cosines: NDArray[np.float64] = basis @ grey @ basis.T
    return cosines


def _signature(cosines: NDArray[np.float64]) -> NDArray[np.uint64]:
    """One bit per cosine, whether it is above the median; (N, 4), zeros where images are below 16 pixels."""
    flat = cosines.reshape(len(cosines), math.prod(cosines.shape[1:]))
    bits = np.zeros((len(flat), FREQUENCIES**2), bool)
    bits[:, : flat.shape[1]] = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)


def find_near(
    looks: NDArray[np.uint64], others: NDArray[np.uint64], image_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
    """Which of N hashes (N, 4) are near one of the others (M, 4): positions (K,); of all N the position of the nearest
    (N,), and in how many bits it differs (N,).
    """
    bits = np.full(len(looks), FREQUENCIES**2, np.uint16)
    nearest = np.zeros(len(looks), np.int64)
    for start, distance in _distances(looks, others):
        best = distance.argmin(1)
        closer = (found := distance[np.arange(len(looks)), best]) < bits
        bits[closer], nearest[closer] = found[closer], start + best[closer]
    return (bits <= _most(image_size)).nonzero()[0], nearest, bits


def _distances(looks: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """In how many bits N hashes (N, 4) differ from some others (N, M), and the position of the first of these."""
    for start in range(0, len(others), CHUNK):
        part = others[start : start + CHUNK]
        distance = np.zeros((len(looks), len(part)), np.uint16)
        for word in range(looks.shape[1]):
            distance += np.bitwise_count(looks[:, word, None] ^ part[None, :, word])
        yield start, distance


def _most(image_size: int) -> float:
    """The largest distance of hashes that are near; small images have fewer bits."""
    return NEAR * min(FREQUENCIES, image_size) ** 2
