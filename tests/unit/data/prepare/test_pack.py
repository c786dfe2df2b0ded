"""Packing: decoded once, the same as PIL gives, and every damaged image is named."""

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ferbench.contract.dataset import Dataset, DatasetInfo, Sample
from ferbench.data.load.image_set import image_set
from ferbench.data.load.image_store import UNKNOWN, ImageStore
from ferbench.data.prepare import writer as packing
from ferbench.data.prepare.pack import ensure_packed, find_packed, packed_folder
from ferbench.data.prepare.writer import decode_sample
from ferbench.errors import DataError
from ferbench.readers.parquet import ParquetDataset
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.support.pool_set import PoolSet


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_packed_images_are_those_of_pil(patterns: Path) -> None:
    packed = ImageStore(ensure_packed(ParquetDataset(patterns), 16))
    pool = image_set(packed, list(range(len(packed.ids))), torch.device("cpu"))
    for row, sample in enumerate(ParquetDataset(patterns).samples()):
        assert isinstance(sample.image, bytes)
        assert packed.ids[row] == sample.id
        assert np.array_equal(pool.images[row].numpy(), np.asarray(Image.open(io.BytesIO(sample.image)).convert("RGB")))
        assert packed.labels[row] == sample.label


def test_packing_holds_one_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PART", 16)
    images = [png(Image.new("RGB", (64, 64), (i, 0, 0))) for i in range(200)]
    dataset = PoolSet(images, name="plenty")
    ensure_packed(PoolSet(images[:1], name="imports"), 64)
    tracemalloc.start()
    folder = ensure_packed(dataset, 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stored = ImageStore(folder).images[:]
    assert stored[:, 0, 0, 0].tolist() == list(range(200))
    assert peak < stored.nbytes / 2


def test_a_resize_takes_the_box_along() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8))
    pixels, row = decode_sample(Sample("a", png(image), "train", "anger", box=(10, 10, 50, 30)), 20)
    assert pixels.shape == (20, 20, 3)
    assert row["box"] == [2.5, 5.0, 12.5, 15.0]
    assert np.array_equal(pixels, np.asarray(image.resize((20, 20), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 30, 30)).convert(mode)
    pixels, _ = decode_sample(Sample("a", png(image), "train", "anger"), 16)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_a_second_call_reads_what_is_there(patterns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ensure_packed(ParquetDataset(patterns), 16)
    monkeypatch.setattr(packing, "decode_sample", None)
    assert ensure_packed(ParquetDataset(patterns), 16) == folder == find_packed(ParquetDataset(patterns))


def test_a_changed_source_is_packed_anew(tmp_path: Path) -> None:
    first = ensure_packed(ParquetDataset(write_pattern_set(tmp_path / "a", name="moving")), 16)
    second = ensure_packed(ParquetDataset(write_pattern_set(tmp_path / "a", name="moving", seed=1)), 16)
    assert first != second
    assert ImageStore(first).fingerprint != ImageStore(second).fingerprint


def test_all_damaged_images_are_named_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    cut = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)))[:300]
    damage = {"bad-train-neutral-0003": cut, "bad-test-sadness-0001": b"not an image", "bad-train-sadness-0000": b""}
    dataset = ParquetDataset(write_pattern_set(tmp_path / "bad", name="bad", damage=damage))
    with pytest.raises(DataError) as caught:
        ensure_packed(dataset, 16)
    assert "3 damaged image(s)" in str(caught.value)
    for sample_id in damage:
        assert sample_id in str(caught.value)
    assert not packed_folder(dataset, 16).exists()


def test_a_decompression_bomb_is_a_damaged_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="12 x 12 pixels are more than"):
        decode_sample(Sample("bomb", png(Image.new("RGB", (12, 12))), "train", "anger"), 16)


def test_an_id_that_occurs_twice_is_named(tmp_path: Path) -> None:
    class Twice(Dataset):
        needs_root = False
        info = DatasetInfo("twice", "Twice", "CC0", {"3": CLASSES}, "3", "synthfaces")

        def samples(self):  # type: ignore[no-untyped-def]
            return iter([Sample("same", png(Image.new("RGB", (4, 4))), "train", "neutral")] * 2)

        def source_digest(self) -> str:
            return "twice"

    with pytest.raises(DataError, match="same: this id occurs twice"):
        ensure_packed(Twice(), 16)


def test_a_damaged_packed_folder_says_what_to_do(tmp_path: Path) -> None:
    folder = ensure_packed(ParquetDataset(write_pattern_set(tmp_path / "torn", name="torn")), 16)
    path = folder / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"manifest\.parquet has changed since it was written; remove the folder"):
        ImageStore(folder)


def test_a_cache_that_cannot_be_written_is_named(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="set FERBENCH_CACHE"):
        ensure_packed(ParquetDataset(patterns), 16)


def test_labels_may_be_distributions_and_may_be_unknown(tmp_path: Path) -> None:
    class Votes(Dataset):
        needs_root = False
        info = DatasetInfo("votes", "Votes", "CC0", {"3": CLASSES}, "3", "synthfaces")

        def samples(self):  # type: ignore[no-untyped-def]
            image = png(Image.new("RGB", (4, 4)))
            yield Sample("a", image, "train", {"sadness": 0.6, "neutral": 0.3, "other": 0.1})
            yield Sample("b", image, "unlabeled")

        def source_digest(self) -> str:
            return "votes"

    packed = ImageStore(ensure_packed(Votes(), 16))
    assert packed.label_positions([0, 1], CLASSES).tolist() == [CLASSES.index("sadness"), UNKNOWN]
    assert packed.label_shares([0, 1], CLASSES)[0].tolist() == pytest.approx([0.3, 0, 0.6])


@pytest.mark.parametrize("content", ["", "[]", '{"name": 3', '{"title": "no name"}'])
def test_a_broken_description_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json: not a valid dataset description"):
        ParquetDataset(tmp_path)


def test_a_folder_without_description_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ferbench synthfaces render"):
        ParquetDataset(tmp_path)


def test_a_parquet_file_cut_short_is_named(tmp_path: Path) -> None:
    folder = write_pattern_set(tmp_path / "cut", name="cut")
    (folder / "test.parquet").write_bytes((folder / "test.parquet").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"test\.parquet: cannot be read"):
        list(ParquetDataset(folder).samples())


def test_a_damaged_file_whose_name_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"no image")
    whole = png(Image.new("RGB", (4, 4)))

    class Named(Dataset):
        info = DatasetInfo("named", "Named", "CC0", {"3": CLASSES}, "3", "synthfaces")
        on_bad_record = "skip"

        def samples(self):  # type: ignore[no-untyped-def]
            return iter([Sample("cafe", tmp_path / name, "train"), Sample("other", whole, "train", "neutral")])

        def source_digest(self) -> str:
            return "named"

    store = ImageStore(ensure_packed(Named(tmp_path), 16))
    ((record, _),) = store.meta["left_out"]
    assert record == f"{tmp_path}/caf\\udce9.png (cafe)"
