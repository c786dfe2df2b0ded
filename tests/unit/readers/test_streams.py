"""Readers of archives, against archives written by hand; what is damaged is named."""

import io
import re
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferbench.contract.dataset import Damage, DatasetInfo, Sample
from ferbench.errors import DataError, UsageError
from ferbench.readers.folders import FolderStream
from ferbench.readers.open_stream import STREAMS, is_stream, open_stream
from ferbench.readers.paths import MAX_FILE
from ferbench.readers.recordio import RecordIOStream, missing_images
from ferbench.readers.streams import Place, StreamedDataset
from ferbench.readers.webdataset import WebDatasetStream
from tests.support.archives import MAGIC, describe, face, labeled, png, record, write_records, write_tar
from tests.support.refusals import refused

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
    assert damages(cut) == [("0.tar", Damage("000003.jpg", "the file is truncated inside this record"))]
    header = place.offset - 512
    for content in (whole[: header + 300], whole[:header], whole[:header] + b"x" * 2000):
        (folder / "0.tar").write_bytes(content)
        assert list(read(cut).values()) == IMAGES[:3]
        ((_, damage),) = damages(cut)
        assert damage.record == "after 000002.cls"


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "a,b"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
        {"size": "-512"},
        {"size": "-1536"},  # back to its own header
        {"size": str(2**80)},
    ],
)
@pytest.mark.parametrize("name", ["bad.jpg", "bad.cls"])
def test_a_tar_with_a_header_made_to_break_it_is_damage(tmp_path: Path, headers: dict[str, str], name: str) -> None:
    folder = describe(tmp_path / "tars", "webdataset")
    write_tar(folder / "0.tar", IMAGES[:1])
    bad = tarfile.TarInfo(name)
    bad.pax_headers = headers
    with tarfile.open(folder / "0.tar", "a", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(bad)
    dataset = open_stream(folder)
    assert list(read(dataset).values()) == IMAGES[:1]
    ((shard, damage),) = damages(dataset)
    assert shard == "0.tar"
    assert damage.record in ("after 000000.cls", f"after {name}", name)
    assert "truncated" in damage.reason or "the rest cannot be read (" in damage.reason


def test_a_tar_of_headers_within_headers_is_damage(tmp_path: Path) -> None:
    folder = describe(tmp_path / "tars", "webdataset")
    write_tar(folder / "0.tar", IMAGES[:1])
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 1
    with tarfile.open(folder / "0.tar", "a") as archive:
        for _ in range(3000):
            archive.addfile(long_name, io.BytesIO(b"x"))
    assert list(read(open_stream(folder)).values()) == IMAGES[:1]
    ((_, damage),) = damages(open_stream(folder))
    assert damage.record == "after 000000.cls"


def test_what_is_larger_than_any_image_is_damage(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(IMAGES[1])
    for name, size in {"0.jpg": MAX_FILE + 1, "2.jpg": 2**43}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)  # what is not written takes no room
    first, image, last = FolderStream(tmp_path, "mine").samples()
    assert first == Damage("0.jpg", f"has {MAX_FILE + 1} bytes, more than the limit for an image ({MAX_FILE})")
    assert isinstance(image, Sample)
    assert image.image == IMAGES[1]
    assert isinstance(last, Damage)
    assert last.record == "2.jpg"


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
    text = "the file is truncated before this record; 1 record(s) are lost"
    assert damages(dataset) == [("train.rec", Damage("4", text))]
    places = [place for place in dataset.places("train.rec") if isinstance(place, Place)]
    assert places[3].length == 50
    reasons = [sample.reason for sample in dataset.samples() if isinstance(sample, Damage)]
    assert len(reasons) == 2 and reasons[0].startswith("truncated: 42 of") and reasons[1] == text


def three_images(folder: Path, end: float = 4.0, identities: bool = True) -> list[str]:
    """A face-recognition set whose first record promises images 1, 2 and 3; the lines of its index."""
    records = [(0, labeled(b"", 0, (end, 6.0))), *((key, labeled(IMAGES[key], key)) for key in (1, 2, 3))]
    records += [(key, labeled(b"", key, (1.0, 2.0))) for key in (4, 5) if identities]
    write_records(folder / "train.rec", [(key, record(content)) for key, content in records])
    return (folder / "train.idx").read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("kept", "record"),
    [
        ((0,), "1 to 3"),
        ((0, 1), "2 to 3"),
        ((0, 1, 2), "3"),
        ((0, 1, 3, 4, 5), "2"),
        ((0, 2, 4, 5), "1 to 3"),
        ((0, 2, 3), "1"),
        ((0, 4, 5), "1 to 3"),
        ((0, 1, 2, 3), None),
        ((0, 3, 1, 2, 3), None),
    ],
)
def test_images_that_the_index_has_lost_are_named(tmp_path: Path, kept: tuple[int, ...], record: str | None) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    lines = three_images(folder)
    (folder / "train.idx").write_text("".join(lines[key] for key in kept))
    there = sorted({1, 2, 3} & set(kept))
    assert set(read(open_stream(folder)).values()) == {IMAGES[key] for key in there}
    expected = f"train.idx lacks {3 - len(there)} of 3 images; copy it again"
    assert damages(open_stream(folder)) == ([("train.rec", Damage(record, expected))] if record else [])


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_without_a_header_record_what_follows_the_last_key_is_named(tmp_path: Path, kept: int) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    in_parts = record(b"", (labeled(b"abcd", 1), b"efghijk"))
    offsets = write_records(
        folder / "train.rec", [(0, record(labeled(IMAGES[0], 0))), (1, in_parts), (2, record(labeled(IMAGES[2], 2)))]
    )
    size = (folder / "train.rec").stat().st_size
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[:kept]))
    assert len(read(open_stream(folder))) == kept
    left = f"train.idx does not cover the last {size - [*offsets, size][kept]:,} bytes; copy it again"
    lost = [("train.rec", Damage(f"after {kept - 1}", left))]
    assert damages(open_stream(folder)) == (lost if kept < 3 else [])


def test_a_number_of_images_that_no_float_holds_loses_none() -> None:
    keys = np.array([*range(2**24 - 3, 2**24 + 3)])
    header_says = range(2**24 - 3, int(np.float32(2**24 + 3)))
    assert header_says.stop == 2**24 + 4
    assert not list(missing_images("train.idx", keys, header_says))
    (damage,) = missing_images("train.idx", keys[:-1], header_says)
    assert damage.record == str(2**24 + 2)


def test_a_record_ends_where_it_says_however_far_the_next_one_is(tmp_path: Path) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    lines = three_images(folder)
    (folder / "train.idx").write_text("".join(lines[:2]))
    with (folder / "train.rec").open("r+b") as file:
        file.truncate(2**43)  # what is not written takes no room
    assert [place for place in open_stream(folder).places("train.rec") if isinstance(place, Place)] == [
        Place("train.rec/1", int(lines[1].split()[1]), len(record(labeled(IMAGES[1], 1)).rstrip(b"\0")))
    ]
    assert list(read(open_stream(folder)).values()) == [IMAGES[1]]
    (folder / "train.idx").write_text("".join([*lines[:2], f"2\t{2**42}\n"]))
    assert read(open_stream(folder)) == {"train.rec/1": IMAGES[1]}
    entries = list(open_stream(folder).samples())
    assert Damage("train.rec/2", f"has {2**42} bytes, more than the limit for an image ({MAX_FILE})") in entries


@pytest.mark.parametrize("end", [float("inf"), float("nan"), 1e30, 0.0, -5.0])
def test_a_first_record_that_promises_endless_images_is_damage(tmp_path: Path, end: float) -> None:
    folder = describe(tmp_path / "rec", "recordio")
    header = labeled(b"", 0, [end, 0.0])
    write_records(folder / "train.rec", [(0, record(header)), (1, record(labeled(IMAGES[0], 1)))])
    assert [damage.record for _, damage in damages(open_stream(folder))] == ["0"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"xxxx" + bytes(60), "no record begins here"),
        (record(b"short"), "too short for its labels"),
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
    with refused(DataError, "webdataset, recordio, folder", "'recordio'"):
        open_stream(describe(tmp_path / "a", "recordo"))
    with pytest.raises(DataError, match=r"no file \*\.rec here"):
        open_stream(describe(tmp_path / "b", "recordio")).shards()
    with pytest.raises(DataError, match="on_bad_record 'ignore' must be 'stop' or 'skip'"):
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
    names: dict[str, Any] = {"FolderStream": FolderStream, "DatasetInfo": DatasetInfo, "Path": Path}
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
