"""Overlap of a pool with the test split, on images that PIL has changed."""

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.fft import dctn

from ferbench.data import image_hashes as overlap
from ferbench.data.image_hashes import FREQUENCIES, NEAR, hash_images, in_chunks
from ferbench.data.select.near_duplicates import find_overlap

SIZE = 48
RNG = np.random.default_rng(0)


def scene(seed: int) -> Image.Image:
    """Smooth blobs, unlike any other seed's."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.5))


def stack(*images: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images])


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


TEST = stack(*map(scene, range(20)))


def test_the_hash_is_the_bits_of_the_low_cosines_above_their_median() -> None:
    image = TEST[3]
    grey = image.astype(float) @ [0.299, 0.587, 0.114]
    low = dctn(grey, norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()
    expected = np.packbits(low > np.median(low)).tobytes()
    hashes = hash_images(image[None])
    assert hashes.looks.tobytes() == expected
    assert hashes.pixels.tobytes() == hashlib.sha256(image.tobytes()).digest()


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda image: image.resize((24, 24), Image.Resampling.BICUBIC).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
        ImageOps.mirror,
        lambda image: jpeg(ImageOps.mirror(image)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: ImageOps.grayscale(image).convert("RGB"),
    ],
)
def test_changed_copies_are_near_and_others_are_not(change: Callable[[Image.Image], Image.Image]) -> None:
    pool = stack(*(change(scene(seed)) for seed in range(10)), *map(scene, range(100, 150)))
    found = find_overlap(TEST, in_chunks(pool, np.arange(len(pool))))
    assert found.exact.tolist() == []
    assert found.near.tolist() == list(range(10))


def test_equal_pixels_are_exact_whatever_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = stack(scene(100), scene(7), scene(101), scene(19), jpeg(scene(2)))
    for chunk in (1, 2, 1024):
        monkeypatch.setattr(overlap, "CHUNK", chunk)
        found = find_overlap(TEST, in_chunks(pool, np.arange(len(pool))))
        assert (found.exact.tolist(), found.near.tolist()) == ([1, 3], [4])


def test_the_distance_that_is_near_is_counted_in_bits() -> None:
    hashes = hash_images(TEST[:1])
    bits = np.unpackbits(hashes.looks.view(np.uint8))
    most = round(NEAR * len(bits))
    assert most == 32
    for flipped, near in ((most, 1), (most + 1, 0)):
        changed = bits.copy()
        changed[RNG.permutation(len(bits))[:flipped]] ^= 1
        looks = np.packbits(changed).view(np.uint64)[None]
        other = overlap.Hashes(np.zeros((1, 32), np.uint8), looks)
        assert len(find_overlap(TEST[:1], [other]).near) == near


def test_images_below_sixteen_pixels_have_a_hash() -> None:
    small = RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    found = find_overlap(small[:3], in_chunks(small, np.arange(40)))
    assert found.exact.tolist() == [0, 1, 2]
    assert not len(found.near), "strangers of 64 bits are not nearer to each other than those of 256"


def test_no_images_have_no_hashes() -> None:
    found = hash_images(np.empty((0, 24, 24, 3), np.uint8))
    assert (found.pixels.shape, found.looks.shape) == ((0, 32), (0, 4))


def test_both_sides_are_told_in_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against distances of all pairs, counted one by one."""
    pool = stack(scene(3), scene(100), jpeg(ImageOps.mirror(scene(5))), scene(3), jpeg(scene(11)), scene(101))
    tests = np.concatenate([TEST, TEST[3:4]])  # one image twice, and both are named
    bits = [np.unpackbits(hash_images(images).looks.view(np.uint8), axis=1) for images in (pool, tests)]
    mirrored = np.unpackbits(hash_images(tests[:, :, ::-1]).looks.view(np.uint8), axis=1)
    same = (pool[:, None] == tests[None]).all((2, 3, 4))
    apart = np.minimum(*((bits[0][:, None] != other[None]).sum(2) for other in (bits[1], mirrored)))
    for chunk in (1, 2, 1024):
        monkeypatch.setattr(overlap, "CHUNK", chunk)
        found = find_overlap(tests, in_chunks(pool, np.arange(len(pool))))
        assert found.exact.tolist() == same.any(1).nonzero()[0].tolist() == [0, 3]
        assert found.exact_tests.tolist() == same.any(0).nonzero()[0].tolist() == [3, 20]
        assert found.near.tolist() == ((apart <= 32).any(1) & ~same.any(1)).nonzero()[0].tolist() == [2, 4]
        assert found.near_tests.tolist() == ((apart <= 32).any(0) & ~same.any(0)).nonzero()[0].tolist() == [5, 11]
