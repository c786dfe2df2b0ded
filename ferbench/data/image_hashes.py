"""Hashes for comparing images: hashes of their pixels, and perceptual hashes.

The perceptual hash is pHash (Zauner 2010) with 256 bits instead of 64. Aligned faces look alike at low frequencies. We
compared SynthFaces' 3,100 test images with the 8,000 of SynthFaces-FR, which show other people. With 64 bits the
nearest pair differs in 2 bits, while JPEG of quality 50 changes 8. With 256 bits other people differ in 42 or more.
JPEG of quality 50, half the size, and a change of brightness or contrast stay below 27. A mirrored copy is compared as
well. The hash does not find a copy that is cropped by more than a fiftieth of the width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ferbench.data.packed_images import PackedImages

FREQUENCIES = 16
NEAR = 1 / 8  # of the bits; hashes that differ in at most this share are near
GREY = (0.299, 0.587, 0.114)
CHUNK = 1024
Images = NDArray[np.uint8] | PackedImages
"""(N, S, S, 3), in memory or on disk."""
PIXELS = 2**21
"""Pixels that are hashed at a time; each takes 24 bytes."""


@dataclass(frozen=True)
class Hashes:
    """The hashes by which N images are compared.

    `pixels` (N, 32) uint8 is the SHA-256 of the decoded bytes, `looks` (N, 4) uint64 the perceptual hash.
    """

    pixels: NDArray[np.uint8]
    looks: NDArray[np.uint64]


def pixels_digest(image: NDArray[np.uint8]) -> bytes:
    """The SHA-256 (32 bytes) of an image (S, S, 3)."""
    return sha256(image.tobytes()).digest()


def hash_images(images: NDArray[np.uint8]) -> Hashes:
    """The hashes of images (N, S, S, 3)."""
    digests = b"".join(map(pixels_digest, images))
    return Hashes(np.frombuffer(digests, np.uint8).reshape(-1, 32), _signature(_low_frequencies(images)))


def in_chunks(images: Images, rows: NDArray[np.int64], *, mirrored: bool = False) -> Iterator[Hashes]:
    """The hashes of some rows, or of their mirror images, in chunks, so that memory use stays constant."""
    count = max(1, PIXELS // images.shape[1] ** 2)
    for start in range(0, len(rows), count):
        chunk = images[rows[start : start + count]]
        yield hash_images(chunk[:, :, ::-1] if mirrored else chunk)


def hash_all(images: NDArray[np.uint8]) -> Hashes:
    """The hashes of all images (N, S, S, 3) of a memory map, which is read in chunks."""
    parts = [hash_images(images[:0]), *in_chunks(images, np.arange(len(images)))]
    return Hashes(np.concatenate([part.pixels for part in parts]), np.concatenate([part.looks for part in parts]))


def _low_frequencies(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The lowest cosines (N, F, F) of the grey images, in float64, so that all machines compute the same bits."""
    grey = images.astype(np.float64) @ np.array(GREY)
    from scipy.fft import dct  # not at the top of the file: a cell without a pool does not need it

    basis = dct(np.eye(images.shape[1]), axis=0, norm="ortho")[:FREQUENCIES]
    cosines: NDArray[np.float64] = basis @ grey @ basis.T
    return cosines


def _signature(cosines: NDArray[np.float64]) -> NDArray[np.uint64]:
    """One bit per cosine: whether it is above the median. (N, 4), with zeros if images are below 16 pixels."""
    flat = cosines.reshape(len(cosines), math.prod(cosines.shape[1:]))
    bits = np.zeros((len(flat), FREQUENCIES**2), bool)
    bits[:, : flat.shape[1]] = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)


def find_near(
    looks: NDArray[np.uint64], others: NDArray[np.uint64], image_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
    """Find which of N hashes (N, 4) are near one of the others (M, 4).

    Returns the positions of these hashes (K,). For all N it returns the position of the nearest other hash (N,), and
    the number of differing bits (N,).
    """
    bits = np.full(len(looks), FREQUENCIES**2, np.uint16)
    nearest = np.zeros(len(looks), np.int64)
    for start, distance in distances(looks, others):
        best = distance.argmin(1)
        closer = (found := distance[np.arange(len(looks)), best]) < bits
        bits[closer], nearest[closer] = found[closer], start + best[closer]
    return (bits <= most_bits(image_size)).nonzero()[0], nearest, bits


def distances(looks: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """In chunks: how many bits of N hashes (N, 4) differ from M others (N, M), and the position of the first other."""
    for start in range(0, len(others), CHUNK):
        part = others[start : start + CHUNK]
        distance = np.zeros((len(looks), len(part)), np.uint16)
        for word in range(looks.shape[1]):
            distance += np.bitwise_count(looks[:, word, None] ^ part[None, :, word])
        yield start, distance


def most_bits(image_size: int) -> float:
    """The largest distance of two near hashes; small images have fewer bits."""
    return NEAR * min(FREQUENCIES, image_size) ** 2
