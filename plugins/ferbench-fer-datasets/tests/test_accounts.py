"""What readers of published layouts say of what they do not read, and of labels that count from another number."""

import random
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.command import call
from tests.support.refusals import refused

from ferbench.contract.account import Account
from ferbench.errors import DataError
from ferbench.readers.account import take_account

from fer_lookalikes import (
    aff_wild2,
    affectnet,
    affectnet_2017,
    affectnet_csv,
    affectnet_yolo,
    ck_plus,
    expw,
    fer2013,
    fer2013_icml,
    fer2013_usages,
    ferplus,
    ferplus_images,
    raf_db,
    raf_db_reupload,
)
from fer_lookalikes.damaging import Tree
from fer_lookalikes.expected import damage, grey_image, open_set, read, write
from fer_lookalikes.mutations.labels import shifted


def account(name: str, root: Path) -> Account:
    return take_account(open_set(name, root))


def unused(name: str, root: Path) -> set[str]:
    return {example for line in account(name, root).unused() for example in line.examples}


def ignored(name: str, root: Path) -> dict[str, str]:
    lines = [line for line in account(name, root).lines if line.outcome == "ignored"]
    return {example: line.reason for line in lines for example in line.examples}


# -- labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "look_alike",
    [
        raf_db,
        raf_db_reupload,
        fer2013,
        fer2013_icml,
        affectnet,
        affectnet_2017,
        affectnet_yolo,
        expw,
        ck_plus,
        aff_wild2,
    ],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_labels_that_count_from_another_number_are_told_by_the_one_that_is_none(
    tmp_path: Path, look_alike: ModuleType, seed: int
) -> None:
    """Whoever skips bad records must not be left with wrong names: the account knows the label, however it is read."""
    names = look_alike.build(tmp_path)
    shifted(Tree(tmp_path, tmp_path, random.Random(seed)))
    for name in names:
        (label,) = account(name, tmp_path).unknown_labels
        assert int(label) in {-2, -1, 0, 7, 8, 11}


def test_files_among_labels_that_are_named_otherwise_are_unused(tmp_path: Path) -> None:
    ck_plus.build(tmp_path)
    path = tmp_path / "Emotion/S005/001/S005_001_00000005_emotion.txt"
    path.rename(path.with_suffix(".TXT"))
    assert unused("ck-plus", tmp_path) == {"Emotion/S005/001/S005_001_00000005_emotion.TXT"}


def test_annotations_that_are_named_otherwise_are_unused(tmp_path: Path) -> None:
    aff_wild2.build(tmp_path)
    folder = tmp_path / aff_wild2.CHALLENGE / "Train_Set"
    (folder / "video74.txt").rename(folder / "video74.csv")
    assert unused("aff-wild2", tmp_path) == {f"{aff_wild2.CHALLENGE}/Train_Set/video74.csv"}
    for path in folder.glob("[!.]*.txt"):
        path.rename(path.with_suffix(".csv"))
    with refused(DataError, folder, "no annotation"):
        read("aff-wild2", tmp_path)


def test_frames_are_found_whatever_they_are_encoded_as(tmp_path: Path) -> None:
    expected = aff_wild2.build(tmp_path)["aff-wild2"]
    for path in (tmp_path / "cropped_aligned/video5_left").iterdir():
        path.rename(path.with_suffix(".png"))
    assert read("aff-wild2", tmp_path)[0] == expected


def test_frames_in_folders_of_folders_are_told(tmp_path: Path) -> None:
    aff_wild2.build(tmp_path)
    frame = tmp_path / "cropped_aligned/video5_left/00001.jpg"
    (frame.parent / "more").mkdir()
    frame.rename(frame.parent / "more" / frame.name)
    told = damage("aff-wild2", tmp_path)
    assert told["cropped_aligned/video5_left/more"] == "its frames are not read; move them up"


# -- lists ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("split", ["train", "test"]),
        ("dataset", ["train", "valid"]),
        ("emotion", ["sad", "fear"]),
        ("class_id", ["1", "2"]),
    ],
)
def test_a_column_that_looks_like_splits_or_labels_is_not_passed_over(
    tmp_path: Path, column: str, values: list[str]
) -> None:
    affectnet_csv.build(tmp_path)
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    added = [f"{line},{values[number % 2]}" for number, line in enumerate(lines[1:])]
    write(tmp_path / "labels.csv", "\n".join([f"{lines[0]},{column}", *added]))
    assert unused("affectnet-csv", tmp_path) == {column}
    assert ignored("affectnet-csv", tmp_path)["relfcs"] == "is not needed from labels.csv"


def test_columns_that_a_published_list_has_anyway_are_passed_over_for_their_reason(tmp_path: Path) -> None:
    ferplus.build(tmp_path)
    assert "votes" in ignored("ferplus", tmp_path)["emotion"]


def test_a_list_of_a_reupload_is_compared_row_by_row(tmp_path: Path) -> None:
    raf_db_reupload.build(tmp_path)
    path = tmp_path / "train_labels.csv"
    write(path, f"{path.read_text()}train_00001_aligned.jpg,2\ntrain_09999_aligned.jpg,2\ntrain_00002_aligned.jpg\n")
    assert damage("raf-db", tmp_path) == {
        "train_labels.csv:23": "'train_00001_aligned.jpg' is '1' in another row, but '2' here",
        "train_labels.csv:24": "no folder contains 'train_09999_aligned.jpg'",
        "train_labels.csv:25": "1 fields instead of 2",
    }


def test_votes_that_stand_there_twice_are_refused(tmp_path: Path) -> None:
    """Of FERPlus four names stand twice and are left out; a list that was put together twice would leave out all."""
    ferplus_images.build(tmp_path)
    rows = (tmp_path / "fer2013new.csv").read_text().splitlines()
    write(tmp_path / "fer2013new.csv", "\n".join([*rows, *rows[1:]]))
    with refused(DataError, "fer2013new.csv", "names appear twice"):
        read("ferplus", tmp_path)


# -- folders -------------------------------------------------------------------------------------------------------


def test_what_is_named_after_the_validation_of_the_competition_is_never_the_test_split(tmp_path: Path) -> None:
    fer2013_usages.build(tmp_path / "copy")
    (tmp_path / "copy/fer/PrivateTest").rename(tmp_path / "elsewhere")
    with refused(DataError, "no folder PrivateTest"):
        read("fer2013-folders", tmp_path / "copy")


def test_images_in_a_folder_that_is_left_are_told_apart_from_other_files(tmp_path: Path) -> None:
    raf_db.build(tmp_path)
    original = tmp_path / "raf-basic/Image/original"
    write(original / "train_00001.data", grey_image(4))
    write(original / "list.txt", "no image")
    assert unused("raf-db", tmp_path) == {"raf-basic/Image/original/train_00001.data"}


def test_a_link_to_itself_stands_for_no_folder(tmp_path: Path) -> None:
    expected = raf_db_reupload.build(tmp_path)["raf-db"]
    (tmp_path / "DATASET/again").symlink_to("again")
    assert len(read("raf-db", tmp_path)[0]) == len(expected)


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_may_stand_for_the_folder_of_a_split(tmp_path: Path, inside: bool) -> None:
    copy = tmp_path / "copy"
    expected = raf_db_reupload.build(copy)["raf-db"]
    place = (copy if inside else tmp_path) / "store"
    (copy / "DATASET/train").rename(place)
    (copy / "DATASET/train").symlink_to(place)
    if inside:
        assert {row.id for row in read("raf-db", copy)[0]} == {row.id for row in expected}
    else:
        done = call("prepare", "raf-db", "--root", str(copy), "--check", "--workers", "1")
        assert (done.code, "bug" in done.err) == (4, False), done.err


def test_labels_of_a_member_are_told_by_what_they_hold(tmp_path: Path) -> None:
    from fer_lookalikes.shards import TRAIN, write_tar

    members = {name.replace(".json", ".about"): content for name, content in TRAIN.items()}
    write_tar(tmp_path / "train-00000.tar", members)
    assert unused("shards", tmp_path) == {"train-00000.tar/b.about"}
