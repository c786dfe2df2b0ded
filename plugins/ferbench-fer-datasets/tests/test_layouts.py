"""Layouts that people have: what a Mac and Windows leave, numbered and misspelt folders, re-uploads, votes and folders.

The first five are the cases that were reported, through the command line.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.support.command import call, succeed
from tests.support.refusals import refused

from ferbench.errors import DataError
from ferbench_fer_datasets.affectnet_yolo import class_names
from ferbench_fer_datasets.folder_names import class_of_folder

from fer_lookalikes import (
    affectnet_csv,
    affectnet_yolo,
    ck_plus_48,
    fer2013_usages,
    ferplus_images,
    jaffe,
    raf_db,
    raf_db_poster,
    raf_db_reupload,
)
from fer_lookalikes.expected import by_id, damage, open_set, read, replace_line, write, write_image
from fer_lookalikes.ferplus import HEADER

FOLDERS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def check(name: str, root: Path, *options: str) -> str:
    return succeed("prepare", name, "--root", str(root), "--check", "--workers", "1", *options)


def counts(out: str) -> dict[str, list[int]]:
    """The table of classes: the numbers of images in each split."""
    rows = out.partition("CLASS ")[2].splitlines()[1:]
    fields = [
        line.split("  ") for line in rows if line.startswith(("neutral", "happiness", "sadness", "anger", "fear"))
    ]
    return {row[0]: [int(cell.split()[0]) for cell in row[1:] if cell.strip()] for row in fields}


# -- cases ----------------------------------------------------------------------------------------------------------


def test_votes_beside_folders_are_joined_by_name(tmp_path: Path) -> None:
    """ferplus-votes-and-folders: two readers sent to each other."""
    rows = [HEADER]
    for usage, folder in (("Training", "FER2013Train"), ("PublicTest", "FER2013Valid"), ("PrivateTest", "FER2013Test")):
        for i in range(8):
            name, votes = f"fer{folder[7:9]}{i:05d}.png", [0] * 10
            write_image(tmp_path / "images" / folder / name)
            votes[i], votes[(i + 1) % 8] = 9, 1
            rows.append(",".join([usage, name, *map(str, votes)]))
    write(tmp_path / "fer2013new.csv", "\n".join(rows) + "\n")
    out = check("ferplus", tmp_path)
    assert "joined to the images of FER2013Train" in out
    assert set(map(tuple, counts(out).values())) == {(1, 1, 1)}
    done = call("prepare", "ferplus-label-csv", "--root", str(tmp_path), "--check")
    assert done.code == 4
    assert f"`ferbench prepare ferplus --root {tmp_path}`" in done.err


@pytest.mark.parametrize("root", ["top", "top/jaffedbase", "top/jaffedbase/jaffedbase"])
def test_jaffe_in_itself(tmp_path: Path, root: str) -> None:
    """jaffe-nested: unpacked twice."""
    for code in ("AN", "DI", "FE", "HA", "NE", "SA", "SU"):
        write_image(tmp_path / f"top/jaffedbase/jaffedbase/KA.{code}1.39.tiff")
    write(tmp_path / "top/__MACOSX/jaffedbase/._KA.AN1.39.tiff", b"\0\5\26\7")
    assert set(map(tuple, counts(check("jaffe", tmp_path / root)).values())) == {(1,)}


def test_what_systems_leave_is_passed_over(tmp_path: Path) -> None:
    """macosx-folder: and what other systems leave."""
    for name in FOLDERS:
        write_image(tmp_path / f"d/{name}/0{name}.png")
        write(tmp_path / f"d/__MACOSX/{name}/._0{name}.png", b"\0\5\26\7")
        write(tmp_path / f"d/{name}/Thumbs.db", b"\xd0\xcf")
        write(tmp_path / f"d/{name}/.DS_Store")
    out = check("image-folder", tmp_path / "d", "--name", "d")
    assert set(map(tuple, counts(out).values())) == {(1,)}
    assert "hidden, or left by an operating system" in out


@pytest.mark.parametrize("kind", ["num", "upper", "sup"])
def test_numbered_and_misspelt_folders_are_read_by_name_once_the_user_agrees(tmp_path: Path, kind: str) -> None:
    """numbered-class-names: the number is in an order of its own and says nothing."""
    for split in ("train", "test"):
        for number, name in enumerate(reversed(FOLDERS)):
            spelt = {"num": f"{number}_{name}", "upper": f"{number}{name.upper()}", "sup": name.replace("surp", "sup")}
            write_image(tmp_path / kind / split / spelt[kind] / f"{split}{name}.png")
    run = call("run", "--method", "fixmatch", "--dataset", str(tmp_path / kind), "--ratio", "0.05")
    assert f"prepare image-folder --root {tmp_path / kind} --name {kind}`" in run.err
    asked = call("prepare", "image-folder", "--name", "n", "--root", str(tmp_path / kind), "--check", "--workers", "1")
    assert asked.code == 4
    command = shlex.split(asked.err.partition("to use it: ferbench ")[2].splitlines()[0])
    assert set(map(tuple, counts(succeed(*command, "--check", "--workers", "1")).values())) == {(1, 1)}


@pytest.mark.parametrize("spelt", ["0_angry", "0ANGRY", "3 - Angry", "angry"])
def test_published_sets_have_classes_of_known_names(spelt: str) -> None:
    assert class_of_folder(spelt) == "anger"
    assert class_of_folder("suprise") == "surprise"
    for name in ("0", "3_", "0_smile"):
        with pytest.raises(ValueError, match="is not an expression"):
            class_of_folder(name)


def test_roots_of_reuploads_of_raf_db(tmp_path: Path) -> None:
    """raf-reupload-roots: DATASET itself, the folder above, and train with valid."""
    published = by_id(raf_db.build(tmp_path / "published")["raf-db"])
    raf_db_reupload.build(tmp_path / "kaggle")
    raf_db_poster.build(tmp_path / "poster")
    for root in ("kaggle/DATASET", "kaggle", "poster"):
        check("raf-db", tmp_path / root)
        assert by_id(read("raf-db", tmp_path / root)[0]) == published
    done = call("prepare", "image-folder", "--name", "p", "--root", str(tmp_path / "poster"), "--check")
    assert done.code == 4
    assert f"`ferbench prepare raf-db --root {tmp_path}/poster`" in done.err


# -- RAF-DB ---------------------------------------------------------------------------------------------------------


def test_the_list_may_have_tabs(tmp_path: Path) -> None:
    expected = raf_db.build(tmp_path)["raf-db"]
    path = tmp_path / raf_db.LIST
    path.write_text(path.read_text().replace(" ", "\t"))
    assert read("raf-db", tmp_path) == (expected, [])


def rename_classes(split: Path, names: Iterable[str]) -> None:
    for number, name in enumerate(names, start=1):
        (split / str(number)).rename(split / name)


def test_class_folders_may_have_names_with_or_without_numbers(tmp_path: Path) -> None:
    expected = by_id(raf_db_poster.build(tmp_path)["raf-db"])
    rename_classes(tmp_path / "train", ("Surprise", "Fear", "Disgust", "Happy", "Sad", "Angry", "Neutral"))
    numbered = ("6_surprise", "2_fear", "1_disgust", "3_happy", "5_sad", "0_angry", "4_neutral")
    rename_classes(tmp_path / "valid", numbered)
    assert by_id(read("raf-db", tmp_path)[0]) == expected


def test_the_rule_says_what_a_reupload_has_changed(tmp_path: Path) -> None:
    raf_db_poster.build(tmp_path)
    assert "its folder 'valid' is the published test set" in open_set("raf-db", tmp_path).info.rule
    (tmp_path / "valid").rename(tmp_path / "test")
    assert "published test set" not in open_set("raf-db", tmp_path).info.rule
    moved = tmp_path / "valid/1/train_00001_aligned.jpg"
    moved.parent.mkdir(parents=True)
    (tmp_path / "train/1/train_00001_aligned.jpg").rename(moved)
    samples, damages = read("raf-db", tmp_path)
    assert (len(samples), damages) == (35, [])
    assert next(sample.split for sample in samples if sample.id == "train_00001") == "train"
    assert "its folder 'valid' is a part of the published training set" in open_set("raf-db", tmp_path).info.rule


def test_folders_that_count_from_0_are_refused(tmp_path: Path) -> None:
    raf_db_poster.build(tmp_path)
    rename_classes(tmp_path / "train", map(str, range(7)))
    with refused(DataError, "train/0", "counts its classes from 1"):
        read("raf-db", tmp_path)


def test_a_list_that_contradicts_the_folders_is_told(tmp_path: Path) -> None:
    raf_db_reupload.build(tmp_path)
    replace_line(tmp_path / "train_labels.csv", 2, "train_00001_aligned.jpg,2")
    assert damage("raf-db", tmp_path) == {
        "DATASET/train/1/train_00001_aligned.jpg": "its list says '2', but its folder is '1'"
    }


# -- FERPlus --------------------------------------------------------------------------------------------------------


def test_images_beside_the_votes_have_the_ids_of_rows(tmp_path: Path) -> None:
    expected = ferplus_images.build(tmp_path)["ferplus-argmax-emotions"]
    assert read("ferplus-argmax-emotions", tmp_path) == (expected, [])
    write_image(tmp_path / "data/FER2013Test/fer0099999.png")
    assert damage("ferplus", tmp_path) == {"data/FER2013Test/fer0099999.png": "fer2013new.csv has no votes for it"}


def test_a_folder_that_leads_out_is_not_listed(tmp_path: Path) -> None:
    ferplus_images.build(tmp_path / "copy")
    (tmp_path / "copy/data/FER2013Test").rename(tmp_path / "outside")
    (tmp_path / "copy/data/FER2013Test").symlink_to(tmp_path / "outside")
    with refused(DataError, "FER2013Test", "leads out"):
        read("ferplus", tmp_path / "copy")


# -- FER2013 --------------------------------------------------------------------------------------------------------


def test_splits_of_folders_are_told_from_their_names(tmp_path: Path) -> None:
    fer2013_usages.build(tmp_path)
    assert open_set("fer2013-folders", tmp_path).info.official.keys() == {"train", "validation", "test"}
    for usage, name in (("Training", "train"), ("PublicTest", "validation")):
        (tmp_path / "fer" / usage).rename(tmp_path / "fer" / name)
    (tmp_path / "fer/PrivateTest").rename(tmp_path / "elsewhere")
    info = open_set("fer2013-folders", tmp_path).info
    assert "validation folder is the test split" in info.rule and info.official == {}
    assert {sample.split for sample in read("fer2013-folders", tmp_path)[0]} == {"train", "test"}


# -- CK+48 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "CK+48"])
def test_the_sum_of_ck_plus_48_and_its_roots(tmp_path: Path, below: str) -> None:
    expected = by_id(ck_plus_48.build(tmp_path)["ck-plus-48"])
    assert by_id(read("ck-plus-48", tmp_path / below)[0]) == expected
    assert sum(open_set("ck-plus-48", tmp_path).info.official["train"].values()) == 981


def test_other_folders_and_names_in_ck_plus_48_are_told(tmp_path: Path) -> None:
    ck_plus_48.build(tmp_path)
    write_image(tmp_path / "CK+48/neutral/S010_001_00000001.png")
    write_image(tmp_path / "CK+48/happy/smile.png")
    assert damage("ck-plus-48", tmp_path).keys() == {"CK+48/neutral", "CK+48/happy/smile.png"}


# -- AffectNet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "names: [Anger, Happy]",
        "names: ['Anger', \"Happy\"]  # two",
        "nc: 2\nnames:\n  - Anger\n  - 'Happy'\ntrain: x",
        "names:\n  0: Anger\n  1: Happy",
        "names:\n  1: Happy\n  0: Anger\n",
        "names: [\n  Anger,\n  Happy,\n]",
    ],
)
def test_names_are_read_from_every_form_of_data_yaml(tmp_path: Path, text: str) -> None:
    write(tmp_path / "data.yaml", text)
    assert class_names(tmp_path, tmp_path / "data.yaml") == {0: "anger", 1: "happiness"}


@pytest.mark.parametrize("text", ["", "nc: 8", "names: []", "names:\n", "names: [face]", "names: 8"])
def test_without_names_numbers_are_not_read(tmp_path: Path, text: str) -> None:
    affectnet_yolo.build(tmp_path)
    write(tmp_path / "YOLO_format/data.yaml", text)
    with refused(DataError, "data.yaml", "names"):
        read("affectnet-yolo", tmp_path)


def test_both_places_of_labels_and_what_is_told_of_them(tmp_path: Path) -> None:
    affectnet_yolo.build(tmp_path)
    base = tmp_path / "YOLO_format"
    for split in ("train", "valid", "test"):
        for kind in ("images", "labels"):
            (base / kind).mkdir(exist_ok=True)
            (base / split / kind).rename(base / kind / split)
    write(base / "labels/train/ffhq_00.txt", "0 .5 .5 1 1\n0 .4 .4 1 1\n")
    assert damage("affectnet-yolo", tmp_path) == {}
    write(base / "labels/train/ffhq_00.txt", "0 .5 .5 1 1\n1 .4 .4 1 1\n")
    write(base / "labels/train/ffhq_01.txt", "8 .5 .5 1 1\n")
    (base / "labels/train/ffhq_10.txt").rename(base / "labels/train/other.txt")
    assert damage("affectnet-yolo", tmp_path).keys() == {
        "YOLO_format/images/train/ffhq_00.jpg",
        "YOLO_format/images/train/ffhq_01.jpg",
        "YOLO_format/images/train/ffhq_10.jpg",
        "YOLO_format/labels/train/other.txt",
    }


def test_a_set_without_a_test_folder_is_tested_on_its_validation_folder(tmp_path: Path) -> None:
    affectnet_yolo.build(tmp_path)
    (tmp_path / "YOLO_format/test").rename(tmp_path / "elsewhere")
    assert {sample.split for sample in read("affectnet-yolo", tmp_path)[0]} == {"train", "test"}
    assert "its validation folder is the test split" in open_set("affectnet-yolo", tmp_path).info.rule


@pytest.mark.parametrize(("delimiter", "column"), [(",", "pth"), ("\t", "path"), (";", "image")])
def test_the_list_decides_and_not_the_folder(tmp_path: Path, delimiter: str, column: str) -> None:
    expected = affectnet_csv.build(tmp_path)["affectnet-csv"]
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace("pth", column).replace(",", delimiter))
    assert read("affectnet-csv", tmp_path) == (expected, [])
    assert "not AffectNet" in open_set("affectnet-csv", tmp_path).info.rule


def test_numbers_in_the_list_are_not_guessed(tmp_path: Path) -> None:
    affectnet_csv.build(tmp_path)
    replace_line(tmp_path / "labels.csv", 2, "0,anger/image0000006.jpg,3,0.5")
    assert damage("affectnet-csv", tmp_path) == {"labels.csv:2": "'3' is not an expression"}


# -- JAFFE ----------------------------------------------------------------------------------------------------------


def test_jaffe_in_folders_of_classes(tmp_path: Path) -> None:
    expected = jaffe.build(tmp_path)["jaffe"]
    for path in sorted((tmp_path / "jaffe").glob("*.tiff")):
        target = tmp_path / "jaffe" / path.name[3:5] / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    assert by_id(read("jaffe", tmp_path)[0]) == by_id(expected)
