"""The account that `ferbench prepare` prints, what stops for it, and that every command it prints runs."""

import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command import Outcome, call, succeed
from tests.support.pattern_set import write_pattern_set

FOLDERS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))


def write(path: Path, seed: int, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind)


def faces(root: Path, folders: list[str], ending: str = "png", kind: str = "PNG", each: int = 2) -> Path:
    """A folder of each class in folders of splits."""
    for split in ("train", "test"):
        for number, folder in enumerate(folders):
            for copy in range(each):
                seed = number * 10 + copy + 1000 * (split == "test")
                write(root / split / folder / f"{split}{copy}{folder}.{ending}", seed, kind)
    return root


def prepare(reader: str, root: Path, *options: str) -> Outcome:
    return call("prepare", reader, "--root", str(root), "--name", "mine", "--size", "12", "--workers", "1", *options)


def printed_command(done: Outcome, start: str) -> list[str]:
    """The command that a message prints after some words."""
    match = re.search(rf"^{start}: (ferbench prepare .*)$", done.err, re.M)
    assert match, done.err
    return [*shlex.split(match[1])[1:], "--size", "12", "--workers", "1"]


# -- cases of users --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "kind"), [("ppm", "PPM"), ("jfif", "JPEG")])
def test_images_of_other_suffixes_are_read(tmp_path: Path, ending: str, kind: str) -> None:
    root = faces(tmp_path / "faces", FOLDERS, ending, kind)
    faces(root, FOLDERS, "jpg", "JPEG")
    done = prepare("image-folder", root, "--check")
    assert (done.code, "56 entries" in done.out) == (0, True), done.err


@pytest.mark.parametrize("option", [(), ("--check",)])
def test_no_image_is_no_success(tmp_path: Path, option: tuple[str, ...]) -> None:
    (tmp_path / "faces" / "train" / "happy").mkdir(parents=True)
    done = prepare("image-folder", tmp_path / "faces", *option)
    assert (done.code, "no samples found" in done.err) == (4, True)


@pytest.mark.parametrize("skip", [(), ("--on-bad-record", "skip"), ("--check",)])
def test_names_with_a_number_in_front_are_read_once_the_user_agrees(tmp_path: Path, skip: tuple[str, ...]) -> None:
    root = faces(tmp_path / "faces", [f"{number}_{name}" for number, name in enumerate(FOLDERS)])
    done = prepare("image-folder", root, *skip)
    assert done.code == 4
    shown = succeed(*printed_command(done, "to use it"))
    assert re.search(r"^anger +2 +2$", shown, re.M), shown
    assert "28 images" in shown


def test_a_misspelled_class_is_read_or_left_as_the_user_says(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces", [*FOLDERS[:-1], "suprise", "contempt"])
    done = prepare("image-folder", root)
    assert re.search(r"file +UNUSED +4 ", done.out)
    assert "28 images" in succeed(*printed_command(done, "to leave it unused"))
    assert "32 images" in succeed(*printed_command(done, "to use it"))


def test_what_a_mac_leaves_is_passed_over(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces", FOLDERS) / "train"
    (root / "__MACOSX" / "angry").mkdir(parents=True)
    (root / "__MACOSX" / "angry" / "._a.png").write_bytes(b"\0\5\26\7" + bytes(60))
    done = prepare("image-folder", root, "--check")
    assert done.code == 0, done.err
    assert re.search(r"file +ignored +1 +hidden", done.out)


@pytest.mark.slow
def test_a_hugging_face_set_whose_label_has_another_name_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    types = datasets.Features({"image": datasets.Image(), "emotion_label": datasets.ClassLabel(names=FOLDERS)})
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        images = []
        for seed in range(14):
            buffer = io.BytesIO()
            Image.new("RGB", (12, 12), (seed, split == "test", 0)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        rows = {"image": images, "emotion_label": [number % 7 for number in range(14)]}
        datasets.Dataset.from_dict(rows, types).to_parquet(tmp_path / "set" / f"{split}-00000-of-00001.parquet")
    done = prepare("huggingface", tmp_path / "set")
    assert done.code == 0, done.err
    assert re.search(r"column +read +1 +label +emotion_label", done.out)
    assert re.search(r"^anger +2 +2$", done.out, re.M)


# -- what the user says ----------------------------------------------------------------------------------------------


def manifest(root: Path) -> Path:
    lines = ["path,emotion,Usage"]
    for number in range(28):
        write(root / f"{number}.png", number)
        lines.append(f"{number}.png,{number % 7},{'Training' if number < 14 else 'PrivateTest'}")
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


SAID = [word for number, name in enumerate(FOLDERS) for word in ("--class", f"{number}={name}")]
SAID += ["--label-column", "emotion", "--split-column", "Usage", "--split", "PrivateTest=test"]


def test_a_manifest_with_other_columns_is_refused_until_the_user_says_what_they_are(tmp_path: Path) -> None:
    root = manifest(tmp_path / "faces")
    done = prepare("manifest", root)
    assert done.code == 4
    assert "2 parts look like data" in done.err
    assert "--label-column emotion --split-column usage" in done.err
    shown = prepare("manifest", root, *SAID)
    assert shown.code == 0, shown.err
    assert re.search(r"^anger +2 +2$", shown.out, re.M)


def test_what_was_said_is_remembered_with_the_copy_and_part_of_its_digest(tmp_path: Path) -> None:
    root = manifest(tmp_path / "faces")
    assert prepare("manifest", root, *SAID).code == 0
    prepared = json.loads((tmp_path / "cache" / "prepared" / "mine" / "source.json").read_text())
    assert prepared["options"]["classes"]["3"] == "happiness"
    first = prepared["source_digest"]
    # Another size is made from the source, as it was said to be read.
    run = ("run", "--method", "supervised", "--dataset", "mine", "--ratio", "0.5", "--set", "image_size=16")
    planned = call(*run, "--set", "steps=1", "--backbone", "small-resnet/4", "--executor", "inline")
    assert planned.code == 0, planned.err
    exchanged = ["0=disgust" if word == "0=angry" else "1=angry" if word == "1=disgust" else word for word in SAID]
    assert prepare("manifest", root, *exchanged).code == 0
    again = json.loads((tmp_path / "cache" / "prepared" / "mine" / "source.json").read_text())
    assert again["source_digest"] != first


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--class", "angry"), "write the name of your copy"),
        (("--class", "x=hungry"), "--class x=hungry: write neutral, "),
        (("--split", "x=exam"), "--split x=exam: write train, "),
        (("--split", "x=test", "--split", "X=train"), "cannot be test and train"),
        (("--label-column", "y"), "does not take --label-column"),
    ],
)
def test_an_option_that_says_nothing_is_refused(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    done = prepare("image-folder", faces(tmp_path / "faces", FOLDERS), *options)
    assert (done.code, text in done.err) == (2, True), done.err


def test_a_stream_has_an_account_too(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces", ["n1"])
    write(root / "n2.avif", 5)
    done = prepare("folder", root, "--check")
    assert (done.code, "1 parts look like data" in done.err) == (4, True)
    assert prepare("folder", root, "--check", "--ignore", "*.avif").code == 0


# -- systematic differences ------------------------------------------------------------------------------------------


def test_one_unknown_label_again_and_again_stops_whatever_is_skipped(tmp_path: Path) -> None:
    root = manifest(tmp_path / "faces")
    (root / "manifest.csv").write_text(
        "path,label\n" + "".join(f"{n}.png,{'sad' if n % 2 else 'mad'}\n" for n in range(28))
    )
    done = prepare("manifest", root, "--on-bad-record", "skip")
    assert done.code == 4
    assert "14 of 28 entries have 'mad'" in done.err
    assert prepare("manifest", root, "--class", "mad=anger").code == 0
    (root / "manifest.csv").write_text(
        "path,label,split\n"
        + "".join(f"{n}.png,{'sad' if n % 2 else 'happy'},{'train' if n < 14 else 'exam'}\n" for n in range(28))
    )
    done = prepare("manifest", root, "--on-bad-record", "skip")
    assert (done.code, "14 of 28 entries have 'exam'" in done.err) == (4, True)


# -- lists of ids ----------------------------------------------------------------------------------------------------


def ids(path: Path) -> list[str]:
    return [line.split(",")[0] for line in path.read_text().splitlines()[1:]]


def test_the_lists_of_a_split_are_those_of_a_run(tmp_path: Path) -> None:
    assert prepare("image-folder", faces(tmp_path / "faces", FOLDERS, each=4)).code == 0
    options = ("--dataset", "mine", "--ratio", "0.5", "--seed", "3")
    for out in ("a", "b"):
        succeed("splits", "export", *options, "--out", str(tmp_path / out))
    written = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert sorted(written) == ["labeled.csv", "split.json", "test.csv", "unlabeled.csv"]
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    labeled, unlabeled, test = (ids(tmp_path / "a" / f"{role}.csv") for role in ("labeled", "unlabeled", "test"))
    assert (len(labeled), len(unlabeled), len(test)) == (14, 14, 28)
    assert set(labeled) | set(unlabeled) == {
        f"train/{folder}/train{copy}{folder}.png" for folder in FOLDERS for copy in range(4)
    }
    assert (tmp_path / "a" / "unlabeled.csv").read_text().splitlines()[0] == "id"
    assert (tmp_path / "a" / "labeled.csv").read_text().splitlines()[1].endswith(",anger")
    run = ("run", "--method", "supervised", *options, "--set", "image_size=12", "--set", "steps=1", "--set")
    more = ("weak.padding=1", "--backbone", "small-resnet/4", "--executor", "inline", "--runs", str(tmp_path / "runs"))
    succeed(*run, *more)
    (record,) = (tmp_path / "runs").rglob("record.json")
    fingerprints = json.loads((tmp_path / "a" / "split.json").read_text())["fingerprints"]
    recorded = json.loads(record.read_text())["result"]["fingerprints"]
    assert {name: recorded[name] for name in fingerprints} == fingerprints


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ((), 2, "give --ratio"),
        (("--ratio", "0.5", "--labels", "7"), 2, "counts labels by"),
        (("--labels", "14", "--per-class", "2"), 2, "exactly one of"),
        (("--ratio", "0.5", "--dataset", "nobodys"), 2, "nobodys"),
        (("--ratio", "0.5", "--classes", "9"), 2, "--classes 9"),
    ],
)
def test_a_split_that_cannot_be_is_named(tmp_path: Path, options: tuple[str, ...], code: int, text: str) -> None:
    assert prepare("image-folder", faces(tmp_path / "faces", FOLDERS)).code == 0
    done = call("splits", "export", "--dataset", "mine", "--out", str(tmp_path / "out"), *options)
    assert (done.code, text in done.err) == (code, True), done.err
    assert not (tmp_path / "out").exists()


# -- folders that are read without `prepare` ---------------------------------------------------------------------------


def plan(*options: str) -> Outcome:
    small = ("--set", "image_size=16", "--set", "weak.padding=1", "--set", "steps=1", "--backbone", "small-resnet/4")
    return call("run", "--method", "supervised", "--ratio", "0.5", "--executor", "inline", *small, *options)


def test_a_parquet_set_with_other_data_beside_it_is_refused(tmp_path: Path) -> None:
    root = write_pattern_set(tmp_path / "set", name="mine")
    write(root / "more" / "a.png", 1)
    (root / "notes.txt").write_text("made by hand")
    done = plan("--dataset", str(root), "--runs", str(tmp_path / "runs"))
    assert (done.code, "more/a.png: is in a place that this reader does not read" in done.err) == (4, True), done.err
    about = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**about, "ignore": ["more"]}))
    done = plan("--dataset", str(root), "--runs", str(tmp_path / "runs"))
    assert done.code == 0, done.err


@pytest.mark.process
def test_a_stream_with_other_data_beside_it_is_refused(tmp_path: Path) -> None:
    data, pool = write_pattern_set(tmp_path / "set", name="mine"), tmp_path / "pool"
    for number in range(3):
        write(pool / f"{number}.png", number)
    write(pool / "3.heic", 3)
    about = {"name": "crowd", "stream": "folder"}
    (pool / "dataset.json").write_text(json.dumps(about))
    options = ("--dataset", str(data), "--unlabeled", str(pool), "--method", "fixmatch", "--protocol", "external-v1")
    done = plan(*options, "--runs", str(tmp_path / "runs"))
    assert "3.heic: an image in a format that is not supported" in done.out + done.err
    (pool / "dataset.json").write_text(json.dumps({**about, "ignore": ["*.heic"]}))
    done = plan(*options, "--runs", str(tmp_path / "runs"))
    assert done.code == 0, done.err


@pytest.mark.parametrize("ignore", ["more", [1], {}])
def test_patterns_in_a_description_are_a_list_of_texts(tmp_path: Path, ignore: object) -> None:
    root = write_pattern_set(tmp_path / "set", name="mine")
    about = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**about, "ignore": ignore}))
    done = plan("--dataset", str(root), "--runs", str(tmp_path / "runs"))
    assert (done.code, '"ignore" is' in done.err) == (4, True), done.err
