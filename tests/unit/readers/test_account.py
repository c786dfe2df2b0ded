"""The account is of every file: what was not used is told apart by what it looks like."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ferbench.builtin.datasets.image_folder import ImageFolder
from ferbench.contract.account import Account, ReaderOptions, escaped, matching
from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.data.prepare.decode import FORMATS
from ferbench.errors import DataError
from ferbench.readers.account import take_account
from ferbench.readers.folders import FolderStream
from ferbench.readers.images import OTHER_IMAGES, looks_like_image
from ferbench.readers.paths import IMAGE_SUFFIXES
from ferbench.readers.recordio import RecordIOStream
from ferbench.readers.webdataset import WebDatasetStream
from tests.support.archives import face, labeled, png, record, write_records, write_tar
from tests.support.deep_folders import deep_folders, folders_without_a_path
from tests.support.ordinary_user import ordinary_user
from tests.support.refusals import refused

IMAGE = png(face(1))


def write(root: Path, *names: str, content: bytes = IMAGE) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def outcomes(account: Account) -> dict[tuple[str, str], set[str]]:
    """Names by kind and outcome; sets here have no more than the examples that are kept."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in account.lines:
        assert line.count == len(line.examples)
        found.setdefault((line.what, line.outcome), set()).update(line.examples)
    return found


def unused(dataset: Dataset) -> set[str]:
    return {name for line in take_account(dataset).unused() for name in line.examples}


def pillow_suffixes(decoded: bool) -> Iterator[str]:
    Image.init()
    for suffix, kind in Image.registered_extensions().items():
        if kind in Image.OPEN and (kind in FORMATS) == decoded:
            yield suffix


def test_every_suffix_of_a_format_that_is_decoded_is_one_of_an_image() -> None:
    assert set(pillow_suffixes(decoded=True)) <= set(IMAGE_SUFFIXES)
    assert not set(IMAGE_SUFFIXES) & set(pillow_suffixes(decoded=False))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_bytes_tell_what_pillow_writes(tmp_path: Path, kind: str) -> None:
    face(2).save(tmp_path / "a", kind)
    assert looks_like_image((tmp_path / "a").read_bytes()[:16])


@pytest.mark.parametrize(
    "content", [b"", b"path,label\n", b"P", b"Pfannkuchen", b"{}", b"BM is a text here", b"\0" * 16]
)
def test_other_bytes_are_no_image(content: bytes) -> None:
    assert not looks_like_image(content[:16])


def test_everything_below_the_root_is_accounted_for(tmp_path: Path) -> None:
    write(tmp_path, "train/happy/a.png", "test/sad/b.ppm", "eval/sad/c.png", "train/happy/d.dat", "e.avif")
    write(tmp_path, "README.md", "train/happy/.DS_Store", "__MACOSX/train/._a.png", "test/sad/Thumbs.db", content=b"x")
    write(tmp_path, "test/notes", content=b"no image")
    assert outcomes(take_account(ImageFolder(tmp_path, "mine"))) == {
        ("image", "sample"): {"train/happy/a.png", "test/sad/b.ppm"},
        ("file", "ignored"): {"README.md", "train/happy/.DS_Store", "__MACOSX/train/._a.png", "test/sad/Thumbs.db"}
        | {"test/notes"},
        ("file", "unused"): {"eval/sad/c.png", "train/happy/d.dat", "e.avif"},
    }


def test_what_the_user_ignores_is_ignored_and_samples_stay(tmp_path: Path) -> None:
    write(tmp_path, "train/happy/a.png", "train/sad/b.png", "eval/sad/c.png", "eval/d.png", "[old]/e.png")
    dataset = ImageFolder(tmp_path, "mine")
    dataset.options = ReaderOptions(ignore=("eval", escaped("[old]"), "train/happy/*"))
    account = take_account(dataset)
    assert not list(account.unused())
    assert account.count("sample") == 2
    assert account.count("ignored") == 3


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [("a", True), ("a/", True), ("a/b", True), ("*.png", True), ("a/*/c.png", True), ("b", False), ("A", False)],
)
def test_a_pattern_matches_a_name_or_a_folder_above_it(pattern: str, matched: bool) -> None:
    assert bool(matching([pattern], "a/b/c.png")) == matched


def test_taking_the_account_twice_counts_once(tmp_path: Path) -> None:
    dataset = ImageFolder(write(tmp_path, "train/happy/a.png", "train/sad/b.png", "c/d.png"), "mine")
    first, second = (outcomes(take_account(dataset)) for _ in range(2))
    assert first == second


def test_folders_that_are_damage_leave_their_images_unused(tmp_path: Path) -> None:
    write(tmp_path, "train/happy/a.png", "train/confused/b.png", "train/happy/deep/c.png")
    account = take_account(ImageFolder(tmp_path, "mine"))
    assert {name for line in account.unused() for name in line.examples} == {
        "train/confused/b.png",
        "train/happy/deep/c.png",
    }
    assert account.unknown_labels == {"confused": 1}


def test_links_are_accounted_for_and_their_targets_are_used(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root, "store/a.png", "train/happy/b.png")
    write(outside, "c.png")
    (root / "train" / "sad").mkdir()
    (root / "train" / "sad" / "a.png").symlink_to("../../store/a.png")
    (root / "pool").symlink_to(outside)
    (root / "again").symlink_to("train")
    (root / "self.png").symlink_to("self.png")
    os.mkfifo(root / "pipe.dat")
    assert outcomes(take_account(ImageFolder(root, "mine"))) == {
        ("image", "sample"): {"train/happy/b.png", "train/sad/a.png"},
        ("file", "ignored"): {"again", "pipe.dat", "self.png"},
        ("file", "unused"): {"pool"},
    }


def test_a_pool_in_folders(tmp_path: Path) -> None:
    write(tmp_path, "a/b.jfif", "c.png", "__MACOSX/d.png", "@eaDir/c.png/thumb.png", "e.bmp.part")
    assert outcomes(take_account(FolderStream(tmp_path, "mine"))) == {
        ("image", "sample"): {"a/b.jfif", "c.png"},
        ("file", "ignored"): {"__MACOSX/d.png", "@eaDir/c.png/thumb.png"},
        ("file", "unused"): {"e.bmp.part"},
    }


def test_a_pool_in_tar_files(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [IMAGE])
    write(tmp_path, "b.png")
    account = take_account(WebDatasetStream(tmp_path, "mine"))
    assert outcomes(account) == {
        ("image", "sample"): {"0.tar/000000.jpg"},
        ("file", "read"): {"0.tar"},
        ("member", "ignored"): {"0.tar/000000.cls"},
        ("file", "unused"): {"b.png"},
    }


def test_a_pool_in_records(tmp_path: Path) -> None:
    header = labeled(b"", 0, [2.0, 3.0])
    write_records(tmp_path / "train.rec", [(0, record(header)), (1, record(labeled(IMAGE, 1))), (2, record(header))])
    write(tmp_path, "lfw.bin", content=b"x")
    write(tmp_path, "old.rec.bak")
    assert outcomes(take_account(RecordIOStream(tmp_path, "mine"))) == {
        ("image", "sample"): {"train.rec/1"},
        ("file", "read"): {"train.rec", "train.idx"},
        ("record", "ignored"): {"train.rec/0", "train.rec/2"},
        ("file", "ignored"): {"lfw.bin"},
        ("file", "unused"): {"old.rec.bak"},
    }


def test_places_that_are_to_be_ignored_match_all_of_them() -> None:
    account = Account()
    for number in range(30):
        account.leave("file", f"deep/{number}/a.png", "unused")
    (line,) = account.unused()
    assert all(matching([escaped(place) for place in line.places], f"deep/{n}/a.png") for n in range(30))


def test_other_images_are_those_that_pillow_or_cameras_know() -> None:
    assert not set(OTHER_IMAGES) & set(IMAGE_SUFFIXES)


# -- what a system refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FolderStream, ImageFolder, WebDatasetStream])
def test_images_are_found_however_deep_they_lie(tmp_path: Path, kind: type[Dataset]) -> None:
    with deep_folders(tmp_path / "unlabeled") as lowest:
        write(lowest, "a.png")
        write_tar(lowest / "0.TAR", [IMAGE])
        dataset = kind(tmp_path, "mine")  # type: ignore[call-arg]
        account, before = take_account(dataset), dataset.source_digest()
        assert (account.count("sample"), account.count("unused")) == (1, 1)
        write(lowest, "a.png", content=IMAGE * 2)
        assert dataset.source_digest() != before


def test_folders_whose_path_is_too_long_are_unused(tmp_path: Path) -> None:
    write(tmp_path, "train/happy/a.png", "train/sad/b.png")
    with folders_without_a_path(tmp_path / "deep"):
        for dataset in (ImageFolder(tmp_path, "mine"), FolderStream(tmp_path, "mine")):
            (line,) = take_account(dataset).unused()
            assert line.reason == "cannot be listed (File name too long)"


@pytest.mark.parametrize("kind", [FolderStream, ImageFolder, WebDatasetStream])
def test_what_may_not_be_read_is_damage_or_unused(tmp_path: Path, kind: type[Dataset]) -> None:
    write(tmp_path, "train/happy/a.png", "train/sad/b.png", "locked/c.png", "notes")
    write_tar(tmp_path / "0.tar", [IMAGE])
    for name in ("locked", "notes"):
        (tmp_path / name).chmod(0)
    with ordinary_user():
        account = take_account(kind(tmp_path, "mine"))  # type: ignore[call-arg]
    assert account.count("sample") == {"WebDatasetStream": 1}.get(kind.__name__, 2)
    reasons = {line.reason for line in account.unused()}
    assert {"cannot be listed (Permission denied)", "cannot be read (Permission denied)"} <= reasons
    (tmp_path / "locked").chmod(0o700)


def test_an_error_of_the_system_while_a_reader_reads_names_the_file(tmp_path: Path) -> None:
    class Careless(ImageFolder):
        def samples(self) -> Iterator[Sample | Damage]:
            raise PermissionError(13, "Permission denied", f"{self.root}/labels")

    with refused(DataError, f"{tmp_path}/labels", "Permission denied", "make it readable"):
        take_account(Careless(tmp_path, "mine"))


def test_images_called_labels_are_told_from_the_first_of_them(tmp_path: Path) -> None:
    write(tmp_path, "train/happy/a.png", "train/sad/b.png", "train/sad/c.txt", "old/d.parquet", "old/e.idx")
    assert unused(ImageFolder(tmp_path, "mine")) == {"train/sad/c.txt", "old/d.parquet", "old/e.idx"}


def test_of_many_labels_only_some_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *arguments: opened.append(arguments[0]) or real(*arguments))
    write(tmp_path, *(f"train/happy/{number}.npy" for number in range(300)), content=b"x")
    take_account(ImageFolder(tmp_path, "mine"))
    assert 0 < len(opened) <= 100
