"""Archives beside data are unused where they hold images that lie nowhere else."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ferbench.builtin.datasets.image_folder import ImageFolder
from ferbench.readers import archives
from ferbench.readers.account import take_account
from tests.support.archives import face, png
from tests.support.command import call

IMAGE = png(face(1))
Members = Mapping[str, bytes]


def as_zip(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def as_tar(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PACKED: dict[str, Callable[[Members], bytes]] = {
    ".zip": as_zip,
    ".ZIP": as_zip,
    ".tar": as_tar,
    ".tar.gz": lambda members: gzip.compress(as_tar(members)),
    ".tgz": lambda members: gzip.compress(as_tar(members)),
    ".tar.bz2": lambda members: bz2.compress(as_tar(members)),
    ".tar.xz": lambda members: lzma.compress(as_tar(members)),
    "": as_tar,
}


def short(value: object) -> str:
    """What a case is called: bytes of an archive have a time in them, and each process would have its own."""
    return "bytes" if isinstance(value, bytes) else str(value)


packed = pytest.mark.parametrize(("ending", "pack"), PACKED.items(), ids=PACKED)


def faces(root: Path) -> Path:
    for name in ("train/happy/a.png", "train/sad/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    return root


def outcome(root: Path, name: str) -> tuple[str, str]:
    """What becomes of a file beside data, and why."""
    lines = take_account(ImageFolder(root, "mine")).lines
    ((found, reason),) = [(line.outcome, line.reason) for line in lines if name in line.examples]
    return found, reason


@packed
def test_images_that_lie_nowhere_else_are_unused(tmp_path: Path, ending: str, pack: Callable[[Members], bytes]) -> None:
    faces(tmp_path)
    (tmp_path / f"more{ending}").write_bytes(pack({"notes.txt": b"x", "more/fear/c.jpg": IMAGE}))
    found, reason = outcome(tmp_path, f"more{ending}")
    assert (found, "images that are not unpacked" in reason) == ("unused", True)


@packed
@pytest.mark.parametrize("place", ["", "train"])
def test_images_that_lie_unpacked_beside_it_are_not(
    tmp_path: Path, ending: str, pack: Callable[[Members], bytes], place: str
) -> None:
    faces(tmp_path)
    members = {f"{place}/{name}".strip("/"): IMAGE for name in ("happy/a.png", "sad/b.png")}
    (tmp_path / f"train.faces{ending}").write_bytes(pack(members))
    assert outcome(tmp_path, f"train.faces{ending}") == ("ignored", "an archive whose images are unpacked next to it")
    (tmp_path / "train/sad/b.png").write_bytes(IMAGE + b"#")
    assert outcome(tmp_path, f"train.faces{ending}")[0] == "unused", "another file of this name"


@packed
def test_an_archive_without_images_is_ignored(tmp_path: Path, ending: str, pack: Callable[[Members], bytes]) -> None:
    faces(tmp_path)
    (tmp_path / f"docs{ending}").write_bytes(pack({"readme.txt": b"x", "__MACOSX/._a.png": b"\0\5\26\7"}))
    assert outcome(tmp_path, f"docs{ending}") == ("ignored", "an archive without images")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.rar", b"Rar!\x1a\x07\x01\0", "cannot be opened here"),
        ("part1", b"Rar!\x1a\x07\0", "cannot be opened here"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0\4", "cannot be opened here"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd\0", "cannot be opened here"),
        ("a.zip", b"<html>not found</html>", "not an archive"),
        ("a.zip", as_zip({"a.png": IMAGE})[:-30], "damaged archive"),
        ("a.tgz", gzip.compress(as_tar({"a.txt": b"x" * 9000}))[:60], "damaged archive"),
        ("a.rar", b"no archive", "not an archive"),
        ("c.png.gz", gzip.compress(IMAGE), "images that are not unpacked"),
    ],
    ids=short,
)
def test_what_cannot_be_looked_into_is_unused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (faces(tmp_path) / name).write_bytes(content)
    found, reason = outcome(tmp_path, name)
    assert (found, words in reason) == ("unused", True), reason


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.pth", as_zip({"data/a.png": IMAGE})),
        ("report.docx", as_zip({"word/media/image1.png": IMAGE})),
        ("fer2013.csv.gz", gzip.compress(b"emotion,pixels")),
        ("empty.zip", b""),
    ],
    ids=short,
)
def test_documents_and_single_files_are_no_archives_of_images(tmp_path: Path, name: str, content: bytes) -> None:
    (faces(tmp_path) / name).write_bytes(content)
    assert outcome(tmp_path, name)[0] == "ignored"


def test_no_name_of_a_member_leads_out(tmp_path: Path) -> None:
    root = faces(tmp_path / "root")
    (tmp_path / "c.png").write_bytes(IMAGE)
    for name in ("../c.png", str(tmp_path / "c.png")):
        (root / "more.zip").write_bytes(as_zip({name: IMAGE}))
        assert outcome(root, "more.zip")[0] == "unused"


def test_a_large_compressed_archive_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_UNPACKED", 10_000)
    faces(tmp_path)
    for name, size in (("small.tgz", 5000), ("large.tgz", 50_000)):
        (tmp_path / name).write_bytes(gzip.compress(as_tar({"a.txt": bytes(size)})))
    assert outcome(tmp_path, "small.tgz")[0] == "ignored"
    assert outcome(tmp_path, "large.tgz")[0] == "unused"


def test_a_tar_that_leads_round_in_circles_is_damaged(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.txt")
    header = bytearray(member.tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfc\0"  # a negative size
    checksum = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    header[148:156] = b"%06o\0 " % checksum
    (faces(tmp_path) / "a.tar").write_bytes(bytes(header) * 3)
    assert "damaged" in outcome(tmp_path, "a.tar")[1]


def test_prepare_stops_for_an_archive_until_the_user_ignores_it(tmp_path: Path) -> None:
    (faces(tmp_path) / "test.zip").write_bytes(as_zip({"test/sad/c.png": IMAGE}))
    command = ("prepare", "image-folder", "--name", "mine", "--root", str(tmp_path), "--check", "--workers", "1")
    done = call(*command)
    assert (done.code, "--ignore test.zip" in done.err) == (4, True), done.err
    assert call(*command, "--ignore", "test.zip").code == 0


def test_a_link_to_an_archive_is_not_followed(tmp_path: Path) -> None:
    root = faces(tmp_path / "root")
    (tmp_path / "far.zip").write_bytes(as_zip({"a.txt": b""}))
    (root / "out.zip").symlink_to(tmp_path / "far.zip")
    (root / "in.zip").symlink_to("docs.zip")
    (root / "docs.zip").write_bytes(as_zip({"a.txt": b""}))
    assert outcome(root, "out.zip") == ("unused", "a link to a file outside the root; put the file itself there")
    assert outcome(root, "in.zip")[0] == "ignored"
    os.remove(root / "docs.zip")
    assert outcome(root, "in.zip")[0] == "ignored"
