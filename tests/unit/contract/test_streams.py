"""Readers of archives, against archives written by hand; what is damaged is named."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest

from ferbench.contract.dataset import Damage, DatasetInfo, Sample
from ferbench.contract.layout import require
from ferbench.contract.streams import (
    STREAMS,
    FolderStream,
    Place,
    RecordIOStream,
    StreamedDataset,
    WebDatasetStream,
    is_stream,
    open_stream,
)
from ferbench.errors import DataError, UsageError
from tests.support.archives import MAGIC, describe, face, labeled, png, record, write_records, write_tar

IMAGES = [png(face(i)) for i in range(6)]
POOLS_PAGE = Path(__file__).parents[3] / "docs" / "pools.md"


def read(dataset: StreamedDataset) -> dict[str, object]:
    return {sample.id: sample.image for sample in dataset.samples() if isinstance(sample, Sample)}


def damages(dataset: StreamedDataset) -> list[tuple[str, Damage]]:
    return [(s, place) for s in dataset.shards() for place in dataset.places(s) if isinstance(place, Damage)]


def test_tar_shards_give_their_images_in_order(tmp_path: Path) -> None:
    folder = describe(tmp_path / "tars", "webdataset")
    write_tar(folder / "00001.tar", IMAGES[4:], 4)
    write_tar(folder / "00000.tar", IMAGES[:4])
    dataset = open_stream(folder)
    assert list(dataset.shards()) == ["00000.tar", "00001.tar"]
    names = [f"0000{i // 4}.tar/{i:06d}.jpg" for i in range(6)]
    assert read(dataset) == dict(zip(names, IMAGES, strict=True))
    assert not damages(dataset)


def test_a_tar_cut_short_names_the_record_and_keeps_what_is_whole(tmp_path: Path) -> None:
    folder = describe(tmp_path / "tars", "webdataset")
    write_tar(folder / "0.tar", IMAGES)
    whole = (folder / "0.tar").read_bytes()
    place = [place for place in open_stream(folder).places("0.tar") if isinstance(place, Place)][3]
    (folder / "0.tar").write_bytes(whole[: place.offset + 100])
    cut = open_stream(folder)
    assert list(read(cut).values()) == IMAGES[:3]
    assert damages(cut) == [("0.tar", Damage("000003.jpg", "the file is cut short within this record"))]
    header = place.offset - 512
    for content in (whole[: header + 300], whole[:header], whole[:header] + b"x" * 2000):
        (folder / "0.tar").write_bytes(content)
        assert list(read(cut).values()) == IMAGES[:3]
        ((_, damage),) = damages(cut)
        assert damage.record == "after 000002.cls"


def test_records_with_a_header_record_and_identities(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    header = (0, record(labeled(b"", 0, (4.0, 6.0))))
    identities = [(4, record(labeled(b"", 4, (1.0, 3.0)))), (5, record(labeled(b"", 5, (3.0, 4.0))))]
    scalar = [(1, record(labeled(IMAGES[0], 1))), (2, record(labeled(IMAGES[1], 2, (7.0,))))]
    array = [(3, record(labeled(IMAGES[2], 3, (7.0, 1.0))))]
    write_records(folder / "train.rec", [header, *scalar, *array, *identities])
    images = {f"train.rec/{key}": IMAGES[key - 1] for key in (1, 2, 3)}
    assert read(open_stream(folder)) == images


def test_records_without_a_header_record_are_all_images(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    write_records(folder / "train.rec", [(key, record(labeled(IMAGES[key], key))) for key in range(4)])
    assert list(read(open_stream(folder)).values()) == IMAGES[:4]


def test_a_record_that_holds_the_magic_number_comes_in_parts(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    magic = struct.pack("<I", MAGIC)
    first, second, third = labeled(b"abcd", 1), b"efghijkl", b"mno"
    write_records(folder / "train.rec", [(1, record(b"", (first, second, third))), (2, record(labeled(IMAGES[0], 2)))])
    assert list(read(open_stream(folder)).values()) == [b"abcd" + magic + b"efghijkl" + magic + b"mno", IMAGES[0]]


def test_records_cut_short_are_named(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    offsets = write_records(folder / "train.rec", [(k, record(labeled(IMAGES[k], k))) for k in range(5)])
    (folder / "train.rec").write_bytes((folder / "train.rec").read_bytes()[: offsets[3] + 50])
    dataset = open_stream(folder)
    text = "the file is cut short before this record; 1 record(s) are lost"
    assert damages(dataset) == [("train.rec", Damage("4", text))]
    places = [place for place in dataset.places("train.rec") if isinstance(place, Place)]
    assert places[3].length == 50
    reasons = [sample.reason for sample in dataset.samples() if isinstance(sample, Damage)]
    assert len(reasons) == 2 and reasons[0].startswith("cut short: 42 of") and reasons[1] == text


def test_a_first_record_that_promises_endless_images_is_damage(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    header = labeled(b"", 0, [float("inf"), 0.0])
    write_records(folder / "train.rec", [(0, record(header)), (1, record(labeled(IMAGES[0], 1)))])
    assert [damage.record for _, damage in damages(open_stream(folder))] == ["0"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"xxxx" + bytes(60), "no record begins here"),
        (record(b"short"), "no room for its labels"),
        (struct.pack("<II", MAGIC, 1 << 29 | 4) + b"abcd", "a part of this record is missing"),
    ],
)
def test_bytes_that_are_no_record_say_so(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    write_records(folder / "train.rec", [(1, content)])
    dataset = open_stream(folder)
    with pytest.raises(ValueError, match=reason):
        dataset.unwrap(content)
    (damage,) = dataset.samples()
    assert isinstance(damage, Damage)
    assert damage.record == "train.rec/1"
    assert reason in damage.reason


def test_folders_of_any_depth(tmp_path: Path) -> None:
    folder = describe(tmp_path / "faces", "folder")
    for i, name in enumerate(["n0/1.png", "n0/deep/2.PNG", "n1/3.png", "0.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGES[i])
    (folder / "n0" / "notes.txt").write_text("no image")
    found = {"n0/1.png": IMAGES[0], "n0/deep/2.PNG": IMAGES[1], "n1/3.png": IMAGES[2], "0.png": IMAGES[3]}
    assert read(open_stream(folder)) == found


def test_a_description_that_cannot_be_followed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write webdataset, recordio, folder; did you mean 'recordio'"):
        open_stream(describe(tmp_path / "a", "recordo"))
    with pytest.raises(DataError, match=r"no file \*\.rec here"):
        open_stream(describe(tmp_path / "b", "recordio")).shards()
    with pytest.raises(DataError, match="on_bad_record is 'ignore'; write stop or skip"):
        open_stream(describe(tmp_path / "c", "folder", on_bad_record="ignore"))
    folder = describe(tmp_path / "d", "recordio")
    (folder / "train.rec").write_bytes(b"")
    (folder / "train.idx").write_text("1\tx\n")
    with pytest.raises(DataError, match=r"train\.idx: not an index of keys and offsets"):
        read(open_stream(folder))
    assert is_stream(folder)


def test_anybodys_files_need_a_name_and_nothing_written_beside_them(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", IMAGES[:2])
    (tmp_path / "deep").mkdir()
    write_records(tmp_path / "deep" / "train.rec", [(key, record(labeled(IMAGES[key], key))) for key in range(2)])
    (tmp_path / "deep" / "2.png").write_bytes(IMAGES[2])
    expected = {
        "webdataset": {"0.tar/000000.jpg": IMAGES[0], "0.tar/000001.jpg": IMAGES[1]},
        "recordio": {"deep/train.rec/0": IMAGES[0], "deep/train.rec/1": IMAGES[1]},
        "folder": {"deep/2.png": IMAGES[2]},
    }
    for kind, stream in STREAMS.items():
        assert stream.needs_name
        dataset = stream(tmp_path, "mine")
        assert read(dataset) == expected[kind]
        assert (dataset.info.name, dataset.info.family, dataset.on_bad_record) == ("mine", "mine", "stop")
        with pytest.raises(UsageError, match="--name"):
            _ = stream(tmp_path).info
    assert not list(tmp_path.rglob("dataset.json"))
    with pytest.raises(DataError, match="no such folder"):
        FolderStream(tmp_path / "elsewhere", "mine").shards()


def test_the_digest_is_of_the_files_and_of_what_damage_does(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", IMAGES[:2])
    dataset = WebDatasetStream(tmp_path, "mine")
    before = dataset.source_digest()
    assert WebDatasetStream(tmp_path, "mine").source_digest() == before
    dataset.on_bad_record = "skip"
    assert dataset.source_digest() != before
    write_tar(tmp_path / "1.tar", IMAGES[2:])
    assert WebDatasetStream(tmp_path, "mine").source_digest() != before


def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "faces", tmp_path / "outside"
    outside.mkdir()
    (outside / "private.png").write_bytes(IMAGES[5])
    root.mkdir()
    (root / "0.png").write_bytes(IMAGES[0])
    (root / "1.png").symlink_to("0.png")
    (root / "2.png").symlink_to(outside / "private.png")
    (root / "3.png").symlink_to("nowhere.png")
    (root / "4.png").symlink_to("4.png")
    (root / "folder").symlink_to(outside)
    (root / "._0.png").write_bytes(b"what another system keeps beside a file")
    dataset = FolderStream(root, "mine")
    assert read(dataset) == {"0.png": IMAGES[0], "1.png": IMAGES[0]}
    found = {damage.record: damage.reason for _, damage in damages(dataset)}
    assert list(found) == ["2.png", "3.png", "4.png"]
    assert "leads out of" in found["2.png"]
    assert "No such file" in found["3.png"]
    (tmp_path / "link").symlink_to(root)
    assert read(FolderStream(tmp_path / "link", "mine")) == read(dataset)


def test_all_of_a_pool_is_read_past_what_is_damaged(tmp_path: Path) -> None:
    write_records(tmp_path / "train.rec", [(1, record(labeled(IMAGES[0], 1))), (2, b"torn"), (3, b"")])
    first, second, third = RecordIOStream(tmp_path, "mine").samples()
    assert (first.id, first.image) == ("train.rec/1", IMAGES[0])
    assert (second.record, second.reason) == ("train.rec/2", "no record begins here")
    assert third.record == "3"


def test_no_link_leads_out_to_an_archive_or_its_index(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    write_tar(outside / "0.tar", IMAGES[:1])
    write_records(outside / "train.rec", [(1, record(labeled(IMAGES[1], 1)))])
    for name in ("0.tar", "train.rec", "train.idx"):
        (root / name).symlink_to(outside / name)
    (root / "1.tar").mkdir()
    (root / "train-2.rec").mkdir()
    for stream in (WebDatasetStream, RecordIOStream):
        found = sorted(
            (damage.reason for _, damage in damages(stream(root, "mine"))), key=lambda r: "leads out of" not in r
        )
        assert "leads out of" in found[0]
        assert len(found) == 2 and found[1].endswith(": not a file")
    (root / "train-2.rec").rmdir()
    (root / "train.rec").unlink()
    (root / "train.rec").write_bytes((outside / "train.rec").read_bytes())
    with pytest.raises(DataError, match=r"train\.idx: not an index .*leads out of"):
        read(RecordIOStream(root, "mine"))


def test_the_pool_of_the_documentation_says_where_its_images_lie(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.+?)```", POOLS_PAGE.read_text("utf-8"), re.DOTALL)
    assert code
    names: dict[str, Any] = {"FolderStream": FolderStream, "DatasetInfo": DatasetInfo, "Path": Path, "require": require}
    exec(code[1], names)
    crowd = names["Crowd"]
    for name in ("root/faces/train/n1", "root/faces/test/n1", "outside"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").write_bytes(IMAGES[0])
    assert read(crowd(tmp_path / "root")) == {"n1/1.png": IMAGES[0]}
    assert crowd(tmp_path / "root").info.name == "crowd"
    (tmp_path / "other" / "faces").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no faces/train here .*; --root is the folder"):
        crowd(tmp_path / "other").shards()
    (tmp_path / "other" / "faces" / "train").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="leads out of"):
        crowd(tmp_path / "other").shards()
