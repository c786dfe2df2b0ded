"""Readers of anybody's images give exactly what lies there."""

import csv
import io
import json
import resource
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from ferbench.builtin.datasets.image_folder import ImageFolder
from ferbench.builtin.datasets.manifest import Manifest
from ferbench.builtin.datasets.named import NamedDataset
from ferbench.builtin.datasets.shards import Shards
from ferbench.contract.account import ReaderOptions
from ferbench.contract.dataset import Damage, Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.errors import DataError
from tests.support.refusals import refused


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def place(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())


def found(dataset: NamedDataset) -> list[tuple[str, str, object]]:
    return [(s.id, s.split, s.label) for s in dataset.samples() if isinstance(s, Sample)]


def damages(dataset: NamedDataset) -> list[tuple[str, str]]:
    return [(s.record, s.reason) for s in dataset.samples() if isinstance(s, Damage)]


# -- folders ---------------------------------------------------------------------------------------------------------


def test_folders_of_splits_and_classes(tmp_path: Path) -> None:
    place(tmp_path, "train/Happy/a.jpg", "train/angry/b.PNG", "val/happy/c.png", "test/sad/d.png", "test/sad/.DS_Store")
    place(tmp_path, "unlabeled/e.png", "unlabeled/deep/er/f.png", "notes/g.png", "train/happy-not/h.png")
    dataset = ImageFolder(tmp_path, "mine")
    assert found(dataset) == [
        ("test/sad/d.png", "test", "sadness"),
        ("train/Happy/a.jpg", "train", "happiness"),
        ("train/angry/b.PNG", "train", "anger"),
        ("unlabeled/e.png", "unlabeled", None),
        ("unlabeled/deep/er/f.png", "unlabeled", None),
        ("val/happy/c.png", "validation", "happiness"),
    ]
    assert [record for record, _ in damages(dataset)] == ["train/happy-not"]
    assert dataset.info.classes == {"3": ("happiness", "sadness", "anger")}


def test_folders_of_classes_alone_are_for_training(tmp_path: Path) -> None:
    place(tmp_path, "fear/a.png", "surprise/b.png")
    assert found(ImageFolder(tmp_path, "mine")) == [
        ("fear/a.png", "train", "fear"),
        ("surprise/b.png", "train", "surprise"),
    ]


def test_images_in_no_class_folder_and_too_deep_are_damage(tmp_path: Path) -> None:
    place(tmp_path, "train/happy/s1/1.jpg", "train/loose.jpg", "train/sad/a.png", "test/happy/b.png", "cover.png")
    dataset = ImageFolder(tmp_path, "mine")
    assert [sample[0] for sample in found(dataset)] == ["test/happy/b.png", "train/sad/a.png"]
    assert [record for record, _ in damages(dataset)] == ["train/loose.jpg", "train/happy/s1"]


def test_class_folders_beside_splits_are_refused(tmp_path: Path) -> None:
    place(tmp_path, "happy/a.png", "Sad/b.png", "unlabeled/c.png")
    dataset = ImageFolder(tmp_path, "mine")
    with refused(DataError, "Sad, happy", "unlabeled"):
        list(dataset.samples())
    with pytest.raises(DataError, match="split folders"):
        _ = dataset.info


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list(ImageFolder(tmp_path / "gone", "mine").samples())


# -- manifests -------------------------------------------------------------------------------------------------------

COLUMNS = ["path", "label", "split", "subject", "video", "x0", "y0", "x1", "y1", "remark"]
ROWS = [
    ["a.png", "Happy", "train", "s1", "", "1", "0", "3", "4", "!"],
    ["b/b.png", "fear", "test", "", "v7", "", "", "", "", ""],
    ["b/c.png", "", "", "", "", "", "", "", "", ""],
    ["b/d.png", "sad", "", "", "", "", "", "", "", ""],
    ["b/e.png", "", "train", "", "", "", "", "", "", ""],
]
SAMPLES = [
    ("a.png", "train", "happiness", "s1", None, (1, 0, 3, 4)),
    ("b/b.png", "test", "fear", None, "v7", None),
    ("b/c.png", "unlabeled", None, None, None, None),
    ("b/d.png", "train", "sadness", None, None, None),
    ("b/e.png", "unlabeled", None, None, None, None),
]
WRONG = [
    (["../a.png", "happy", "", "", "", "", "", "", "", ""], "is not a path below"),
    (["/etc/passwd", "happy", "", "", "", "", "", "", "", ""], "is not a path below"),
    (["a.png", "hungry", "", "", "", "", "", "", "", ""], "'hungry' is not an expression"),
    (["a.png", "happy", "holdout", "", "", "", "", "", "", ""], "'holdout' is not a split"),
    (["a.png", "happy", "", "", "", "1", "2", "", "", ""], "'' is not a number"),
    (["a.png", "happy", "", "", "", "3", "0", "1", "4", ""], "not a face box"),
    (["a.png", "happy", "", "s\x1b[2J", "", "", "", "", "", ""], "is not printable text"),
    (["a.png", "happy", "", "", "v\x07", "", "", "", "", ""], "is not printable text"),
]


def write_csv(root: Path, rows: list[list[str]], delimiter: str = ",") -> None:
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([COLUMNS, *rows])


def write_parquet(root: Path, rows: list[list[str]]) -> None:
    table = pyarrow.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    pyarrow.parquet.write_table(table, root / "manifest.parquet")


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_manifest_says_what_is_known_of_each_image(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, ROWS)
    dataset = Manifest(tmp_path, "mine")
    samples = [s for s in dataset.samples() if isinstance(s, Sample)]
    assert [(s.id, s.split, s.label, s.subject, s.video, s.box) for s in samples] == SAMPLES
    assert [s.image for s in samples] == [tmp_path / row[0] for row in ROWS]
    assert dataset.info.classes == {"3": ("happiness", "sadness", "fear")}


def test_numbers_of_a_parquet_manifest_are_boxes(tmp_path: Path) -> None:
    row = {"path": "a.png", "label": "happy", "x0": 1.5, "y0": 0, "x1": 3.0, "y1": 4}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "manifest.parquet")
    (sample,) = Manifest(tmp_path, "mine").samples()
    assert isinstance(sample, Sample)
    assert sample.box == (1.5, 0.0, 3.0, 4.0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_two_faces_of_an_image_have_ids_of_their_own(tmp_path: Path, suffix: str) -> None:
    place(tmp_path, "a.png", "b.png")
    columns = ["path", "id", "label", "x0", "y0", "x1", "y1"]
    rows = [
        ["a.png", "left", "happy", "0", "0", "2", "4"],
        ["a.png", "right", "sad", "2", "0", "4", "4"],
        ["b.png", "", "sad", "", "", "", ""],
    ]
    if suffix == "csv":
        (tmp_path / "manifest.csv").write_text("\n".join(map(",".join, [columns, *rows])))
    else:
        table = pyarrow.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])
        pyarrow.parquet.write_table(table, tmp_path / "manifest.parquet")
    dataset = Manifest(tmp_path, f"two-faces-{suffix}")
    dataset.crop = 0
    packed = ImageStore(ensure_packed(dataset, 4))
    assert dict(zip(packed.ids, packed.labels, strict=True)) == {
        "left": "happiness",
        "right": "sadness",
        "b.png": "sadness",
    }


@pytest.mark.parametrize(("row", "reason"), WRONG, ids=[reason for _, reason in WRONG])
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_wrong_row_is_damage_and_the_others_stay(tmp_path: Path, write, row, reason) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, [ROWS[0], row, ROWS[1]])
    dataset = Manifest(tmp_path, "mine")
    assert len(found(dataset)) == 2
    ((record, said),) = damages(dataset)
    assert reason in said
    assert said.isprintable()
    assert record == ("manifest.csv:3" if write is write_csv else "manifest.parquet, row 2")


@pytest.mark.parametrize("content", [b"name,label\na.png,happy\n", b""], ids=["no path", "empty"])
def test_a_manifest_without_paths_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.csv:1.*path"):
        list(Manifest(tmp_path, "mine").samples())


def test_a_torn_parquet_manifest_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path, ROWS)
    path = tmp_path / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"manifest\.parquet: cannot be read"):
        list(Manifest(tmp_path, "mine").samples())


def test_a_folder_without_manifest_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.csv or manifest\.parquet"):
        list(Manifest(tmp_path, "mine").samples())


def test_a_small_manifest_that_decodes_to_gigabytes_is_refused_before_it_does(tmp_path: Path) -> None:
    rows = pyarrow.array(np.zeros(100_000, np.int32))
    paths = pyarrow.DictionaryArray.from_arrays(rows, ["x" * 2**22])
    pyarrow.parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "manifest.parquet", compression="zstd")
    assert (tmp_path / "manifest.parquet").stat().st_size < 100_000
    before = _peak()
    with pytest.raises(DataError, match="a text of 4,194,304 bytes"):
        list(Manifest(tmp_path, "mine").samples())
    assert _peak() - before < 200_000_000


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# -- shards ----------------------------------------------------------------------------------------------------------


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_shards_have_class_names_beside_their_images(tmp_path: Path) -> None:
    about = json.dumps({"label": "fear", "split": "val", "subject": 7, "video": "v"}).encode("utf-8-sig")
    shard(
        tmp_path / "train-00000.tar",
        {"a.jpg": png(1), "a.cls": b"\xef\xbb\xbfhappy\n", "b.json": about, "b.png": png(2), "c.png": png(3)},
    )
    shard(tmp_path / "test-0.tar", {"x/a.png": png(4), "x/a.txt": b"sad", "y/a.png": png(5), "y/a.txt": b"fear"})
    dataset = Shards(tmp_path, "mine")
    assert found(dataset) == [
        ("test-0.tar/x/a", "test", "sadness"),
        ("test-0.tar/y/a", "test", "fear"),
        ("train-00000.tar/a", "train", "happiness"),
        ("train-00000.tar/b", "validation", "fear"),
        ("train-00000.tar/c", "unlabeled", None),
    ]
    b = next(s for s in dataset.samples() if isinstance(s, Sample) and s.id.endswith("/b"))
    assert (b.image, b.subject, b.video) == (png(2), "7", "v")
    assert dataset.info.classes == {"3": ("happiness", "sadness", "fear")}


def test_a_class_and_a_subject_may_be_number_0(tmp_path: Path) -> None:
    members = {f"{label}.png": png(label) for label in range(2)}
    members |= {f"{label}.json": json.dumps({"label": label, "subject": label}).encode() for label in range(2)}
    shard(tmp_path / "train-0.tar", dict(sorted(members.items())))
    dataset = Shards(tmp_path, "mine")
    assert [reason.split(";")[0] for _, reason in damages(dataset)] == [f"'{n}' is not an expression" for n in "01"]
    dataset.options = ReaderOptions(classes={"0": "anger", "1": "happiness"})
    samples = [(s.label, s.subject) for s in dataset.samples() if isinstance(s, Sample)]
    assert samples == [("anger", "0"), ("happiness", "1")]


@pytest.mark.parametrize("join", ["-", "_", ".", ""])
def test_a_shard_begins_with_its_split_whatever_follows(tmp_path: Path, join: str) -> None:
    for split in ("train", "test"):
        shard(tmp_path / f"{split}{join}00000.tar", {"a.png": png(), "a.cls": b"fear"})
    assert {split for _, split, _ in found(Shards(tmp_path, "mine"))} == {"train", "test"}


def test_shards_that_name_their_split_elsewhere_are_not_all_for_training(tmp_path: Path) -> None:
    for split in ("train", "test"):
        shard(tmp_path / f"faces_{split}_0.tar", {"a.png": png(), "a.cls": b"fear"})
    dataset = Shards(tmp_path, "mine")
    assert found(dataset) == []
    assert [record for record, _ in damages(dataset)] == ["faces_test_0.tar", "faces_train_0.tar"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.jpg": png(), "a.cls": b"3"}, "'3' is not an expression"),
        ({"a.jpg": png(), "a.json": b"[3]"}, "not an object"),
        ({"a.jpg": png(), "a.json": b'{"label": '}, "Expecting value"),
        ({"a.jpg": png(), "a.cls": b"\xff\xfe"}, "codec can't decode"),
        ({"a.jpg": png(), "a.json": b'{"label": "fear", "split": "x"}'}, "'x' is not a split"),
        ({"a.jpg": png(), "a.json": b'{"label": "fear", "split": "\\ud800"}'}, "is not a split"),
        ({"a.jpg": png(), "a.json": b'{"label": "fear", "subject": "\\ud800"}'}, "is not printable text"),
        ({"a.jpg": png(), "a.json": b'{"label": "fear", "video": "a\\nb"}'}, "is not printable text"),
        ({"a.jpg": png(), "a.json": b"[" * 60_000}, "nested too deeply"),
    ],
    ids=["number", "list", "cut", "encoding", "split", "half a split", "half a subject", "line break", "nested"],
)
def test_a_wrong_label_is_damage(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    shard(tmp_path / "train-0.tar", {**members, "b.jpg": png(), "b.cls": b"fear"})
    dataset = Shards(tmp_path, "mine")
    assert found(dataset) == [("train-0.tar/b", "train", "fear")]
    ((record, said),) = damages(dataset)
    assert record == "train-0.tar/a"
    assert reason in said
    assert said.isprintable()


def test_a_shard_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    members = {f"{n}.{suffix}": part for n in range(9) for suffix, part in (("jpg", png(n)), ("cls", b"fear"))}
    shard(tmp_path / "train-0.tar", members)
    path = tmp_path / "train-0.tar"
    path.write_bytes(path.read_bytes()[: 512 * 14 + 100])
    dataset = Shards(tmp_path, "mine")
    assert [sample[0] for sample in found(dataset)] == ["train-0.tar/0", "train-0.tar/1", "train-0.tar/2"]
    assert "truncated" in damages(dataset)[0][1]


def test_members_that_lead_elsewhere_are_only_names(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", {"../../etc/a.jpg": png(), "../../etc/a.cls": b"fear"})
    assert found(Shards(tmp_path, "mine")) == [("train-0.tar/../../etc/a", "train", "fear")]


@pytest.mark.parametrize("size", ["-512", "-1536", str(2**80)])
def test_a_shard_with_a_header_made_to_break_it_is_damage(tmp_path: Path, size: str) -> None:
    path = tmp_path / "train-0.tar"
    shard(path, {"a.png": png(1), "a.cls": b"fear"})
    bad = tarfile.TarInfo("b.png")
    bad.pax_headers = {"size": size}  # of two of them it would lead back to itself
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(bad)
    *_, last = Shards(tmp_path, "mine").samples()
    assert isinstance(last, Damage)
    assert last.record in ("train-0.tar from a on", "train-0.tar from b on")
    assert "rest of the shard" in last.reason


def test_no_shards_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no shard \*\.tar"):
        list(Shards(tmp_path, "mine").samples())
