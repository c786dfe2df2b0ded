"""Images in two splits are those that a comparison of every pair finds."""

import hashlib
import io
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferbench.contract.dataset import Dataset, DatasetInfo, Sample
from ferbench.data.image_hashes import NEAR, hash_images
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select import duplicate_report as duplicates
from ferbench.data.select.duplicate_report import SPLITS, across_splits

SIZE = 32
CHANCE = np.random.default_rng(0)


def scene() -> Image.Image:
    """An image with all the frequencies that looks are made of: of a smooth one a JPEG changes every bit beyond."""
    return Image.fromarray(CHANCE.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)).convert("RGB")


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


class Scenes(Dataset):
    """Scenes of four splits, and copies of some in others."""

    info = DatasetInfo("scenes", "Scenes", "CC0", {"2": ("neutral", "fear")}, "2", "scenes")

    def __init__(self) -> None:
        super().__init__()
        first = {split: [scene() for _ in range(12)] for split in SPLITS}
        images = {f"{split}/{n}": encoded(image) for split in SPLITS for n, image in enumerate(first[split])}
        images["train/same"] = images["test/0"]
        images["train/same-within"] = images["train/0"]
        images["train/mirrored"] = encoded(mirrored(first["test"][1]))
        images["unlabeled/jpeg"] = encoded(first["test"][2], "JPEG", quality=90)
        images["validation/mirrored-jpeg"] = encoded(mirrored(first["train"][3]), "JPEG", quality=80)
        images["unlabeled/same-in-three"] = images["test/0"]
        images["test/jpeg-of-train"] = encoded(first["train"][5], "JPEG", quality=85)
        images["test/mirrored-train"] = encoded(mirrored(first["train"][5]))
        self.images = images

    def samples(self) -> Iterator[Sample]:
        for name, content in self.images.items():
            split = name.partition("/")[0]
            yield Sample(name, content, split, None if split == "unlabeled" else "fear")  # type: ignore[arg-type]

    def source_digest(self) -> str:
        return hashlib.sha256(b"".join(self.images.values())).hexdigest()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    return ImageStore(ensure_packed(Scenes(), SIZE))


def bits_apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """In how many bits two images, or one and the mirror image of the other, look different."""
    looks, *others = (
        np.unpackbits(hash_images(image[None]).looks.view(np.uint8)) for image in (one, other, other[:, ::-1])
    )
    return min(int((looks != seen).sum()) for seen in others)


def by_brute_force(packed: ImageStore) -> tuple[set[tuple[str, str]], dict[tuple[str, str], int]]:
    """Pairs of equal files; and of each image with its nearest of another split, where that is near enough."""
    rows = {split: [row for row, s in enumerate(packed.splits) if s == split] for split in SPLITS}
    same, near = set(), {}
    for first, second in combinations(SPLITS, 2):
        for row, other in product(rows[first], rows[second]):
            if packed.contents[row] == packed.contents[other]:
                same.add((packed.ids[row], packed.ids[other]))
        apart = {
            (row, other): bits_apart(packed.images[row], packed.images[other])
            for row, other in product(rows[first], rows[second])
        }
        nearest = [min((apart[pair], pair) for pair in apart if row in pair) for row in rows[first] + rows[second]]
        near |= {(packed.ids[row], packed.ids[other]): bits for bits, (row, other) in nearest if bits <= NEAR * 256}
    return same, {pair: bits for pair, bits in near.items() if pair not in same}


def test_what_is_found_is_what_comparing_every_pair_finds(packed: ImageStore) -> None:
    found = across_splits(packed)
    same, near = by_brute_force(packed)
    assert {(d.id, d.other_id) for d in found.found if d.bits is None} == same
    assert {(d.id, d.other_id): d.bits for d in found.found if d.bits is not None} == near
    assert len(found.found) == len(same) + len(near)
    assert found.not_compared == []


def test_copies_are_found_from_the_split_that_must_not_have_them(packed: ImageStore) -> None:
    found = {(d.split, d.id, d.other_split, d.other_id): d for d in across_splits(packed).found}
    same = found["test", "test/0", "train", "train/same"]
    assert same.kind == "the same file"
    assert found["test", "test/1", "train", "train/mirrored"].bits == 0
    assert "bits differ" in found["test", "test/2", "unlabeled", "unlabeled/jpeg"].kind
    assert ("validation", "validation/mirrored-jpeg", "train", "train/3") in found
    assert not any("same-within" in d.id + d.other_id for d in found.values()), "both are in one split"


def test_every_copy_of_a_training_image_is_found(packed: ImageStore) -> None:
    found = {d.id for d in across_splits(packed).found if d.other_id == "train/5"}
    assert found == {"test/jpeg-of-train", "test/mirrored-train"}


class Copies(Scenes):
    """One image many times, in two splits."""

    def __init__(self) -> None:
        super().__init__()
        one = self.images["test/0"]
        self.images = {f"{split}/{n}": one for split in ("test", "train") for n in range(40)}


def test_many_copies_of_one_image_are_named_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    found = across_splits(ImageStore(ensure_packed(Copies(), SIZE))).found
    assert {d.id for d in found} == {f"test/{n}" for n in range(40)}
    assert {d.other_id for d in found} == {f"train/{n}" for n in range(40)}
    assert len(found) == 79


def test_splits_too_large_are_named_and_equal_files_found_all_the_same(
    packed: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 14 * 14)
    found = across_splits(packed)
    assert "train and unlabeled" in found.not_compared
    assert "test and validation" not in found.not_compared
    assert {(d.id, d.other_id) for d in found.found if d.bits is None} == by_brute_force(packed)[0]
