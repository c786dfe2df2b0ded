"""Archives next to data: they count as unused data if they contain images that are not unpacked."""

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ferbench.readers.images import unread_image
from ferbench.readers.paths import below, is_hidden
from ferbench.readers.tars import BAD_TAR, members

BEGINNING = 512
"""Bytes at the beginning of a file that identify an archive; the mark of tar comes after the first name."""
MOST_UNPACKED = 2**28
"""Most bytes of a compressed archive that are read; the archive of a large dataset would take many minutes."""

OPENERS: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""The first bytes of compressed files, and the functions that open them."""
CLOSED = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd")
"""The first bytes of RAR, 7-Zip and Zstandard archives, which ferbench cannot open."""
ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
ENDINGS = (".zip", ".rar", ".7z", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst")
DOCUMENTS = (".npz", ".pt", ".pth", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".whl", ".jar")
"""Suffixes of other formats that are zip files inside; the pictures of a document are not data."""
BROKEN = (*BAD_TAR, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError, RuntimeError)

Found = tuple[Literal["unused", "ignored"], str]


def is_archive(name: str, beginning: bytes = b"") -> bool:
    """Whether a file is an archive, by its name (in lower case) or by its first bytes."""
    if name.endswith(DOCUMENTS):
        return False
    return name.endswith(ENDINGS) or beginning.startswith((*OPENERS, *CLOSED, *ZIP)) or beginning[257:262] == b"ustar"


def look_into(path: Path, beginning: bytes) -> Found:
    """Whether an archive that no reader reads is unused data, and why; lists its members without unpacking them."""
    if not beginning:
        return "ignored", "an empty file"
    if beginning.startswith(CLOSED):
        return "unused", "an archive that cannot be opened here (rar, 7z, zst); unpack it if it contains images"
    try:
        unpacked = [_lies_unpacked(path, name, size) for name, size in _images(path, beginning)]
    except BROKEN:
        return "unused", "a damaged archive, or not an archive; unpack it or copy it again"
    if all(unpacked):
        return "ignored", "an archive whose images are unpacked next to it" if unpacked else "an archive without images"
    return "unused", "an archive with images that are not unpacked next to it; unpack it there"


def _is_image(name: str) -> bool:
    return bool(unread_image(name)) and not any(is_hidden(part) for part in name.split("/") if part)


def _lies_unpacked(path: Path, name: str, size: int) -> bool:
    """Whether a member is unpacked next to the archive, or in a folder with the archive's name."""
    for folder in (path.parent, path.parent / path.name.partition(".")[0]):
        try:
            if os.lstat(below(folder, name)).st_size == size:
                return True
        except (OSError, ValueError):
            continue
    return False


def _images(path: Path, beginning: bytes) -> Iterator[tuple[str, int]]:
    """Name and size in bytes of every image in an archive; -1 if the size is unknown."""
    if beginning.startswith(ZIP) or path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            yield from ((one.filename, one.file_size) for one in archive.infolist() if _is_image(one.filename))
        return
    opener = next((opener for start, opener in OPENERS.items() if beginning.startswith(start)), None)
    with opener(path) if opener else path.open("rb") as file:
        first = file.read(BEGINNING)
        if opener and first[257:262] != b"ustar":  # one file, compressed
            yield from [(path.stem, -1)] if unread_image(path.stem.lower(), first) else []
            return
        file.seek(0)
        for _, member in members(file):
            if opener and member.offset_data + member.size > MOST_UNPACKED:
                raise tarfile.ReadError(f"more than {MOST_UNPACKED} bytes")
            if member.isfile() and _is_image(member.name):
                yield member.name, member.size
