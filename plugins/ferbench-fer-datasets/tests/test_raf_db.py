"""RAF-DB: labels that count from 1, both spellings of its list, face boxes, and re-uploads."""

from pathlib import Path

import pytest
from tests.support.refusals import refused

from ferbench.contract.dataset import Sample
from ferbench.errors import DataError
from ferbench_fer_datasets.raf_db import OFFICIAL

from fer_lookalikes import raf_db, raf_db_reupload
from fer_lookalikes.expected import by_id, damage, open_set, read, replace_line
from fer_lookalikes.raf_db import LIST


@pytest.mark.parametrize("name", ["raf-db", "raf-db-original"])
@pytest.mark.parametrize("below", ["", "raf-basic"])
def test_all_that_is_there_is_read(tmp_path: Path, name: str, below: str) -> None:
    expected = raf_db.build(tmp_path)[name]
    assert read(name, tmp_path / below) == (expected, [])


def test_the_right_spelling_is_read_too(tmp_path: Path) -> None:
    expected = raf_db.build(tmp_path)["raf-db"]
    (tmp_path / LIST).rename(tmp_path / LIST.replace("patition", "partition"))
    assert len(read("raf-db", tmp_path)[0]) == len(expected)


def test_a_reupload_has_the_ids_of_the_original(tmp_path: Path) -> None:
    published = raf_db.build(tmp_path / "published")["raf-db"]
    assert raf_db_reupload.build(tmp_path / "copy") == {"raf-db": published}
    assert by_id(read("raf-db", tmp_path / "copy")[0]) == by_id(published)


def test_what_is_published_is_preferred(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    (tmp_path / "DATASET/train/1").mkdir(parents=True)
    assert len(read("raf-db", tmp_path)[0]) == 35


def test_every_line_that_says_nothing_is_named(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    wrong = {
        2: ("train_00002.jpg 0", "label '0' must be one of 1, 2, 3, 4, 5, 6, 7"),
        3: ("train_00003.jpg 8", "label '8'"),
        4: ("train_00004.jpg", "label ''"),
        5: ("valid_00005.jpg 5", "'valid_00005' is not named like train_00001"),
        6: ("train_6.jpg 5", "'train_6'"),
        7: ("../../train_00007.jpg 5", "'../../train_00007.jpg' is not a path below"),
        8: ("/etc/train_00008.jpg 5", "'/etc/train_00008.jpg' is not a path below"),
        9: ("train_00009\x1b[31m.jpg 5", r"'train_00009\x1b[31m'"),
        10: ("train_00010.jpg five", "label 'five'"),
        11: ("", ""),
    }
    for number, (line, _) in wrong.items():
        replace_line(tmp_path / LIST, number, line)
    found = damage("raf-db", tmp_path)
    assert found.keys() == {f"{LIST}:{number}" for number in range(2, 11)}
    assert all(reason in found[f"{LIST}:{number}"] for number, (_, reason) in wrong.items() if reason)
    assert len(read("raf-db", tmp_path)[0]) == 35 - len(wrong)


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 4 5", "a b c d", "1 2 nan 4", "4 2 4 9", "", "1 2 inf 9"])
def test_a_box_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    raf_db.build(tmp_path)
    (tmp_path / "raf-basic/Annotation/boundingbox/train_00002_boundingbox.txt").write_text(text)
    assert damage("raf-db-original", tmp_path).keys() == {f"{LIST}:2"}
    assert damage("raf-db", tmp_path) == {}


def test_a_missing_box_is_named(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    (tmp_path / "raf-basic/Annotation/boundingbox/test_0003_boundingbox.txt").unlink()
    assert "test_0003_boundingbox.txt" in damage("raf-db-original", tmp_path)[f"{LIST}:24"]


def test_a_missing_image_is_left_to_whoever_decodes_it(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    missing = tmp_path / "raf-basic/Image/aligned/train_00004_aligned.jpg"
    missing.unlink()
    (sample,) = (s for s in open_set("raf-db", tmp_path).samples() if isinstance(s, Sample) and s.image == missing)
    assert sample.id == "train_00004"


def test_wrong_folders_and_names_of_a_reupload_are_named(tmp_path: Path) -> None:
    raf_db_reupload.build(tmp_path)
    copy = tmp_path / "DATASET"
    (copy / "train/8").mkdir()
    (copy / "train/1/train_00001_aligned.jpg").rename(copy / "test/1/train_00001_aligned.jpg")
    (copy / "test/7/test_0007_aligned.jpg").rename(copy / "test/7/copy.jpg")
    assert damage("raf-db", tmp_path).keys() == {
        "DATASET/train/8",
        "DATASET/test/1/train_00001_aligned.jpg",
        "DATASET/test/7/copy.jpg",
        "test_labels.csv:8",  # which names the image that is called a copy now
    }


def test_other_layouts_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with refused(DataError, "list_patition_label.txt", "'basic'"):
        read("raf-db", tmp_path)
    raf_db_reupload.build(tmp_path)
    with refused(DataError, "copies with a folder for each class have no original images"):
        read("raf-db-original", tmp_path)
    with pytest.raises(DataError, match=r"no such folder.*--root"):
        read("raf-db", tmp_path / "nowhere")


def test_images_that_are_not_unpacked_are_asked_for(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    (tmp_path / "raf-basic/Image/aligned").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"unpack Image/aligned\.zip there"):
        read("raf-db", tmp_path)


def test_the_official_numbers_add_up() -> None:
    assert {split: sum(counts.values()) for split, counts in OFFICIAL.items()} == {"train": 12271, "test": 3068}


def test_only_original_images_are_cropped(tmp_path: Path) -> None:
    assert open_set("raf-db", tmp_path).crop is None
    assert open_set("raf-db-original", tmp_path).crop == 0.0
