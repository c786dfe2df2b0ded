"""Whether images of a pool are images of the test split: equal pixels, and perceptual hashes that are near.

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


@dataclass(frozen=True)
class Hashes:
    """What N images are compared by.

    `pixels` (N, 32) uint8 is the SHA-256 of the decoded bytes, `looks` (N, 4) uint64 the perceptual hash.
    """

    pixels: NDArray[np.uint8]
    looks: NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Rows of a pool (int64) that are test images, and rows that only look like one."""

    exact: NDArray[np.int64]
    near: NDArray[np.int64]


def hash_images(images: NDArray[np.uint8]) -> Hashes:
    """The hashes of images (N, S, S, 3)."""
    digests = b"".join(sha256(image.tobytes()).digest() for image in images)
    return Hashes(np.frombuffer(digests, np.uint8).reshape(-1, 32), _signature(_low_frequencies(images)))


def in_chunks(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> Iterator[Hashes]:
    """The hashes of some rows of a memory map, so many at a time that memory stays flat."""
    for start in range(0, len(rows), CHUNK):
        yield hash_images(images[rows[start : start + CHUNK]])


def find_overlap(test_images: NDArray[np.uint8], pool: Iterable[Hashes]) -> Overlap:
    """Compare the hashes of a pool, in chunks, with those of test images (N, S, S, 3) and of their mirror images."""
    test = hash_images(test_images)
    test_looks = np.concatenate([test.looks, hash_images(test_images[:, :, ::-1]).looks])
    known = {row.tobytes() for row in test.pixels}
    exact: list[int] = []
    near: list[int] = []
    start = 0
    for chunk in pool:
        same = np.array([row.tobytes() in known for row in chunk.pixels])
        looks_same, _, _ = find_near(chunk.looks, test_looks, test_images.shape[1])
        exact += (start + same.nonzero()[0]).tolist()
        near += (start + np.setdiff1d(looks_same, same.nonzero()[0])).tolist()
        start += len(same)
    return Overlap(np.array(exact, np.int64), np.array(near, np.int64))


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
    for start in range(0, len(others), CHUNK):
        part = others[start : start + CHUNK]
        distance = np.zeros((len(looks), len(part)), np.uint16)
        for word in range(looks.shape[1]):
            distance += np.bitwise_count(looks[:, word, None] ^ part[None, :, word])
        best = distance.argmin(1)
        closer = (found := distance[np.arange(len(looks)), best]) < bits
        bits[closer], nearest[closer] = found[closer], start + best[closer]
    return (bits <= NEAR * min(FREQUENCIES, image_size) ** 2).nonzero()[0], nearest, bits
