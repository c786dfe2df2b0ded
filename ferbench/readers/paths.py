"""Paths below the root of a reader: no path leaves the root, no read blocks, no file is larger than an image can be.

Lists and folders are untrusted: a name may lead out of the root, a link may point to itself.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

from ferbench.contract.dataset import Sample
from ferbench.errors import DataError
from ferbench.readers.text import quoted

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".pfm"),
)
"""All suffixes of the supported formats (`ferbench.data.prepare.decode.FORMATS`) that Pillow knows."""
LEFT_BY_SYSTEMS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
"""Files and folders that operating systems and servers create, in lower case; skipped like hidden files."""
MAX_FILE = 2**28


def below(root: Path, name: str) -> Path:
    """The path of a file that a list names; raises ValueError if the name would lead out of `root`.

    Links are not followed here; call `real` before opening the path.
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"{quoted(name)} is not a path below {root}")
    return root / path


def inside(root: Path, path: Path) -> Path:
    """The path without links; raises OSError if it does not exist, ValueError if links lead out of `root`."""
    # Not Path.resolve, which raises a RuntimeError for a link to itself up to Python 3.12.
    found = Path(os.path.realpath(path, strict=True))
    if not found.is_relative_to(os.path.realpath(root)):
        raise ValueError(f"{path}: leads out of {root}; put the file or folder itself there")
    return found


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path exists and does not lead out of `root`."""
    try:
        return bool(inside(root, path))
    except (OSError, ValueError):
        return False


def real(root: Path, path: Path) -> Path:
    """The file that a path leads to, checked by `inside`; raises ValueError if it is not a regular file.

    Opening a pipe would block.
    """
    found = inside(root, path)
    if not found.is_file():
        raise ValueError(f"{path}: not a file")
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones and links."""
    return [Path(entry) for entry in visible(folder) if entry.is_dir(follow_symlinks=False)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to a folder; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def files(folder: Path, *endings: str) -> list[Path]:
    """The files in a folder with one of these suffixes, in any case, sorted by name, without hidden ones."""
    return [Path(entry) for entry in visible(folder) if entry.name.lower().endswith(endings)]


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder, sorted by name, without hidden ones."""
    return files(folder, *IMAGE_SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is skipped because of its name; `.` and `..` are parts of paths, not names."""
    return (name[0] == "." and name not in (".", "..")) or name.lower() in LEFT_BY_SYSTEMS


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones; raises DataError if it cannot be listed."""
    # scandir's entries know whether they are folders; with 290,000 images, asking for each takes longer than the rest.
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from None


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and all folders below it, parents first, without hidden ones and links.

    Folders that cannot be listed are included; the caller sees the error when it lists them.
    """
    folders = [folder]
    while folders:  # not os.walk or rglob, which fail at a depth of some thousand folders
        current = folders.pop()
        yield current
        with suppress(DataError):
            folders += reversed(subfolders(current))


def files_below(folder: Path, *endings: str) -> Iterator[Path]:
    """The files with one of these suffixes, in any case, in a folder and in all folders below it that can be listed."""
    for inner in folders_below(folder):
        with suppress(DataError):
            yield from files(inner, *endings)


def holds_images(folder: Path) -> bool:
    """Whether a folder contains an image file, at any depth."""
    return any(image_files(inner) for inner in folders_below(folder))


class ImageFiles:
    """Reads the image files of samples. They must be below `root`; with None they may be anywhere.

    Use an instance for one pass only: each folder is checked once, so a link that is created later is not noticed.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        real_root = root and os.path.realpath(root)
        self._is_below = cache(lambda folder: not real_root or Path(os.path.realpath(folder)).is_relative_to(real_root))

    def read(self, sample: Sample) -> bytes:
        """The bytes of an image file.

        Raises ValueError if links lead out of the root, if it is not a regular file, or if it is larger than `MAX_FILE`
        bytes; OSError if it does not exist.
        """
        if isinstance(sample.image, bytes):
            return sample.image
        path = os.fspath(sample.image)
        if self._root is not None and not self._is_below(os.path.dirname(path)):
            path = os.fspath(real(self._root, sample.image))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe must not block
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP or self._root is None:
                raise
            descriptor = os.open(real(self._root, sample.image), flags)
        with open(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path}: not a file")
            if found.st_size > MAX_FILE:
                raise ValueError(f"{path}: has {found.st_size} bytes, more than the limit for an image ({MAX_FILE})")
            return file.read()
