"""Named pools: compared with the test split, and fingerprints that say what was drawn."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferbench.contract.dataset import Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select import near_duplicates
from ferbench.data.select.splits import make_split
from ferbench.data.select.unlabeled_pool import open_unlabeled_pool
from ferbench.errors import DataError
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import Budget
from tests.support.pattern_set import CLASSES, bar_image, encoded
from tests.support.pool_set import PoolSet


@pytest.fixture
def packed(patterns: Path) -> ImageStore:
    return ImageStore(ensure_packed(ParquetDataset(patterns), 16))


def others(n: int, seed: int = 9) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [encoded(bar_image(i % 3, rng)) for i in range(n)]


def test_images(patterns: Path) -> list[bytes]:
    return [bytes(s.image) for s in ParquetDataset(patterns).samples() if s.split == "test"]  # type: ignore[arg-type]


test_images.__test__ = False  # type: ignore[attr-defined]


def test_a_test_image_in_a_pool_is_refused_by_its_id(packed: ImageStore, patterns: Path) -> None:
    stolen = Image.open(io.BytesIO(test_images(patterns)[4])).convert("RGB")
    again = io.BytesIO()
    stolen.save(again, "BMP")  # another file, the same pixels
    with pytest.raises(DataError) as caught:
        open_unlabeled_pool(PoolSet([*others(5), again.getvalue()]), packed)
    assert "1 image(s) equal test images of 'patterns'" in str(caught.value)
    assert "other-faces-0005" in str(caught.value)
    assert "other-faces-0004" not in str(caught.value)


def test_near_duplicates_are_left_out_and_counted(packed: ImageStore, patterns: Path) -> None:
    image = np.asarray(Image.open(io.BytesIO(test_images(patterns)[2])).convert("RGB"))
    brighter = encoded(Image.fromarray(np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8)))
    pool = open_unlabeled_pool(PoolSet([*others(5), brighter], name="with-near"), packed)
    assert (pool.near_duplicates, len(pool.rows)) == (1, 5)
    assert [pool.source.ids[row] for row in pool.rows] == [f"with-near-{i:04d}" for i in range(5)]


def test_test_images_of_the_pool_are_not_drawn(packed: ImageStore) -> None:
    pool = open_unlabeled_pool(PoolSet(others(3), [Sample("held-out", others(1, 5)[0], "test")], "with-test"), packed)
    assert "held-out" not in {pool.source.ids[row] for row in pool.rows}


def test_of_the_labeled_set_itself_the_images_without_a_label_are_the_pool(packed: ImageStore) -> None:
    samples = [Sample(f"{split}-{i}", image, split) for split in ("train", "test") for i, image in enumerate(others(3))]
    whole = PoolSet(others(4, seed=5), samples, "whole")
    pool = open_unlabeled_pool(whole, ImageStore(ensure_packed(whole, 16)))
    assert [pool.source.ids[row] for row in pool.rows] == [f"whole-{i:04d}" for i in range(4)]
    labeled = PoolSet([], samples, "labeled")
    with pytest.raises(DataError, match="no images without a label"):
        open_unlabeled_pool(labeled, ImageStore(ensure_packed(labeled, 16)))


def test_the_comparison_is_made_once(packed: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_unlabeled_pool(PoolSet(others(6), name="kept"), packed)
    monkeypatch.setattr(near_duplicates, "find_overlap", None)
    assert open_unlabeled_pool(PoolSet(others(6), name="kept"), packed).rows.tolist() == first.rows.tolist()


def test_fingerprints_name_what_is_drawn(packed: ImageStore) -> None:
    plan = make_split(packed, CLASSES, Budget(ratio="0.1"), 0, rule="sha256-v1")
    pool = open_unlabeled_pool(PoolSet(others(4), name="named"), packed)
    ids = [f"named-{i:04d}" for i in range(4)]
    text = json.dumps(ids, separators=(",", ":"))
    instead = pool.fingerprints(plan, keeps_rest=False)
    assert instead.unlabeled == hashlib.sha256(text.encode()).hexdigest()
    assert instead.pool == pool.source.fingerprint
    beside = pool.fingerprints(plan, keeps_rest=True)
    assert beside.unlabeled not in (instead.unlabeled, plan.fingerprints.unlabeled)
    assert beside.model_copy(update={"unlabeled": ""}) == instead.model_copy(update={"unlabeled": ""})
