"""Test images of another set: the classes of both by name, its test split, and none that was trained on."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from ferbench.contract.dataset import EIGHT_CLASSES, Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.cross_test import CrossTest, open_cross_test
from ferbench.data.select.folds import Fold
from ferbench.data.select.unlabeled_pool import open_unlabeled_pool
from ferbench.data.sources import shared_classes
from ferbench.errors import DataError, UsageError
from ferbench.readers.open_stream import open_stream
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.predictions import labeled_fingerprint
from ferbench.records.schema import Fingerprints
from tests.support.archives import describe, face, png, write_tar
from tests.support.pattern_set import CLASSES, encoded, write_pattern_set
from tests.support.pool_set import PoolSet
from tests.support.refusals import refused


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another set with all eight classes in another order: 5 test images of each."""
    folder = tmp_path_factory.mktemp("cross") / "eight"
    return write_pattern_set(folder, name="eight", classes=EIGHT_CLASSES[::-1], n_test=40, seed=3)


@pytest.fixture
def trained(patterns: Path) -> ImageStore:
    return ImageStore(ensure_packed(ParquetDataset(patterns), 16))


def images(folder: Path, split: str) -> list[bytes]:
    return [bytes(s.image) for s in ParquetDataset(folder).samples() if s.split == split]  # type: ignore[arg-type]


def with_test_images(folder: Path, name: str, added: list[bytes]) -> Dataset:
    """A set with these beside its own test images, as happy faces."""
    write_pattern_set(folder, name=name, seed=8)
    path = folder / "test.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows += [{**rows[0], "id": f"added-{i}", "image": {"bytes": b}, "label": "happiness"} for i, b in enumerate(added)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return ParquetDataset(folder)


def brighter(content: bytes) -> bytes:
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    return encoded(Image.fromarray(np.clip(image + 2, 0, 255).astype(np.uint8)))


def ids(test: CrossTest) -> list[str]:
    return [test.images.ids[row] for row in test.rows]


def test_classes_are_joined_by_name_in_the_trained_order(patterns: Path, eight: Path) -> None:
    small, large = ParquetDataset(patterns), ParquetDataset(eight)
    assert shared_classes(small, CLASSES, large) == CLASSES
    assert shared_classes(large, EIGHT_CLASSES[::-1], small) == CLASSES[::-1]
    assert shared_classes(small, CLASSES[1:], large) == CLASSES[1:]


def test_a_class_counts_whichever_task_of_the_other_set_has_it(patterns: Path, eight: Path) -> None:
    other = ParquetDataset(eight)
    other._info = replace(other.info, classes={"2": ("anger", "sadness"), "3": ("neutral", "fear", "anger")})
    assert shared_classes(ParquetDataset(patterns), CLASSES, other) == ("neutral", "sadness")


def test_sets_that_cannot_be_tested_are_refused(patterns: Path, tmp_path: Path) -> None:
    dataset = ParquetDataset(patterns)
    other = ParquetDataset(write_pattern_set(tmp_path / "b", name="b", classes=("anger", "sadness", "fear")))
    with pytest.raises(UsageError) as caught:
        shared_classes(dataset, CLASSES, other)
    for words in ("'patterns' (neutral, happiness, sadness)", "'b' (anger, sadness, fear)", "one class, and two"):
        assert words in str(caught.value)
    with pytest.raises(UsageError, match="'patterns' is tested on it anyway"):
        shared_classes(dataset, CLASSES, ParquetDataset(patterns))
    with pytest.raises(UsageError, match="--test-on other-faces: this is an unlabeled pool"):
        shared_classes(dataset, CLASSES, PoolSet([png(face(1))]))


def test_tested_are_the_test_images_of_the_shared_classes(trained: ImageStore, eight: Path) -> None:
    shared = ("happiness", "anger", "contempt")
    test = open_cross_test(ParquetDataset(eight), shared, trained)
    expected = sorted(
        (s.id, s.label) for s in ParquetDataset(eight).samples() if s.split == "test" and s.label in shared
    )
    assert len(expected) == 15
    assert ids(test) == [one for one, _ in expected]
    assert test.near_duplicates == 0
    assert list(test.notes()) == []
    prints = test.fingerprints(Fingerprints(data="d", labeled="l", test="own", folds="f"))
    named = labeled_fingerprint(*zip(*expected, strict=True))  # type: ignore[arg-type]
    assert prints == Fingerprints(data="d", labeled="l", test=named, test_data=test.images.fingerprint)


def test_without_a_test_split_all_labeled_images_are_tested(trained: ImageStore, tmp_path: Path) -> None:
    folder = write_pattern_set(tmp_path / "posed", name="posed", n_test=0, seed=4)
    test = open_cross_test(ParquetDataset(folder), CLASSES[:2], trained)
    assert len(test.rows) == 100
    (note,) = test.notes()
    assert "no test split" in note


def test_a_test_image_that_was_trained_on_is_refused_by_its_id(
    trained: ImageStore, patterns: Path, tmp_path: Path
) -> None:
    other = with_test_images(tmp_path / "copied", "copied", [png(face(5)), images(patterns, "train")[17]])
    with pytest.raises(DataError) as caught:
        open_cross_test(other, CLASSES, trained)
    assert "--test-on copied: 1 test image(s) equal training images of 'patterns'" in str(caught.value)
    assert "added-1" in str(caught.value)
    assert "added-0" not in str(caught.value)
    assert len(open_cross_test(other, ("neutral", "sadness"), trained).rows) == 20, "of a class that is not tested"


def test_test_images_of_the_trained_set_were_not_trained_on(
    trained: ImageStore, patterns: Path, tmp_path: Path
) -> None:
    other = with_test_images(tmp_path / "shared", "shared", [images(patterns, "test")[3]])
    assert "added-0" in ids(open_cross_test(other, CLASSES, trained))
    with pytest.raises(DataError, match="added-0"):  # but in other folds they are
        open_cross_test(other, CLASSES, trained, fold=Fold(0, 5))


def test_near_duplicates_of_training_images_are_left_out_and_counted(
    trained: ImageStore, patterns: Path, tmp_path: Path
) -> None:
    look_alikes = [brighter(content) for content in images(patterns, "train")[:3]]
    other = with_test_images(tmp_path / "similar", "similar", [png(face(6)), *look_alikes])
    test = open_cross_test(other, CLASSES, trained)
    assert test.near_duplicates == 3
    assert [one for one in ids(test) if one.startswith("added")] == ["added-0"]
    assert "3 test image(s) are left out" in " ".join(test.notes())


def test_where_none_is_left_there_is_no_test(trained: ImageStore, patterns: Path, tmp_path: Path) -> None:
    folder = write_pattern_set(tmp_path / "all", name="all", n_test=3, seed=8)
    rows = pyarrow.parquet.read_table(folder / "test.parquet").to_pylist()
    for row, content in zip(rows, images(patterns, "train"), strict=False):
        row["image"] = {"bytes": brighter(content)}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test.parquet")
    with refused(DataError, "no test images", "3 look like"):
        open_cross_test(ParquetDataset(folder), CLASSES, trained)


@pytest.mark.process
@pytest.mark.parametrize("streamed", [False, True])
def test_images_of_a_pool_count_as_trained_on(trained: ImageStore, tmp_path: Path, streamed: bool) -> None:
    crowd: Dataset = PoolSet([png(face(i)) for i in range(8)], name="crowd")
    if streamed:
        folder = describe(tmp_path / "crowd", "webdataset", name="tars")
        write_tar(folder / "0.tar", [png(face(i)) for i in range(8)])
        crowd = open_stream(folder)
    pool = open_unlabeled_pool(crowd, trained)
    name = f"near-{streamed}".lower()
    other = with_test_images(tmp_path / name, name, [brighter(png(face(2)))])
    assert open_cross_test(other, CLASSES, trained).near_duplicates == 0
    assert open_cross_test(other, CLASSES, trained, pool=pool).near_duplicates == 1
    taken = with_test_images(tmp_path / f"taken-{name}", f"taken-{name}", [png(face(2))])
    with pytest.raises(DataError, match="added-0"):
        open_cross_test(taken, CLASSES, trained, pool=pool)
