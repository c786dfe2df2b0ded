"""Paths below the root of a reader: nothing leads out of it, nothing waits, nothing is larger than an image can be.

Whatever a list or a folder says comes from strangers: a name may lead elsewhere, a link may lead to itself.
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
"""Of the formats that are decoded (`ferbench.data.prepare.decode.FORMATS`), all that Pillow knows."""
LEFT_BY_SYSTEMS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
"""What unpacking, a file manager or a server leaves beside data, in lower case; passed over as hidden files are."""
MAX_FILE = 2**28


def below(root: Path, name: str) -> Path:
    """The path of a file that a list names; raises ValueError for a name that would lead out of `root`.

    Links are not followed here: whoever opens the path asks `real`.
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"{quoted(name)} is no path below {root}")
    return root / path


def inside(root: Path, path: Path) -> Path:
    """What a path leads to; raises OSError where nothing is, ValueError where links lead out of `root`."""
    # Not Path.resolve, which answers a link to itself with a RuntimeError up to Python 3.12.
    found = Path(os.path.realpath(path, strict=True))
    if not found.is_relative_to(os.path.realpath(root)):
        raise ValueError(f"{path}: leads out of {root}; put the file or folder itself there")
    return found


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path leads to something below `root`: `inside` without its reason."""
    try:
        return bool(inside(root, path))
    except (OSError, ValueError):
        return False


def real(root: Path, path: Path) -> Path:
    """The file that a path leads to, as `inside` does; raises ValueError for what is no regular file.

    To open a pipe would wait.
    """
    found = inside(root, path)
    if not found.is_file():
        raise ValueError(f"{path}: not a file")
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and links."""
    return [Path(entry) for entry in visible(folder) if entry.is_dir(follow_symlinks=False)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def files(folder: Path, *endings: str) -> list[Path]:
    """What in a folder has one of these endings, in any case, by name and without hidden ones."""
    return [Path(entry) for entry in visible(folder) if entry.name.lower().endswith(endings)]


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder by name, without hidden ones."""
    return files(folder, *IMAGE_SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over for its name; `.` and `..` are no names, but parts of paths."""
    return (name[0] == "." and name not in (".", "..")) or name.lower() in LEFT_BY_SYSTEMS


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder by name, without hidden ones; raises DataError where it cannot be listed."""
    # Entries know whether they are folders: among 290,000 images a look at each would take longer than the rest.
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from None


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and all that lie in it at any depth, each before its own; without hidden ones and links.

    One that cannot be listed is given too: whoever lists it says so.
    """
    folders = [folder]
    while folders:  # not os.walk and rglob, which give up some thousand folders down
        current = folders.pop()
        yield current
        with suppress(DataError):
            folders += reversed(subfolders(current))


def files_below(folder: Path, *endings: str) -> Iterator[Path]:
    """What has one of these endings, in any case, in a folder and in all below it that can be listed."""
    for inner in folders_below(folder):
        with suppress(DataError):
            yield from files(inner, *endings)


def holds_images(folder: Path) -> bool:
    """Whether there is an image file in a folder, at any depth."""
    return any(image_files(inner) for inner in folders_below(folder))


class ImageFiles:
    """Reads the image files of samples, which must lie below `root`, or anywhere for None.

    Whether a folder is below is looked up once, so this is for one pass: a link that is put there later is not noticed.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        real_root = root and os.path.realpath(root)
        self._is_below = cache(lambda folder: not real_root or Path(os.path.realpath(folder)).is_relative_to(real_root))

    def read(self, sample: Sample) -> bytes:
        """The bytes of an image file.

        Raises ValueError where links lead out of the root, for what is no file and for a file above `MAX_FILE`; OSError
        where nothing is.
        """
        if isinstance(sample.image, bytes):
            return sample.image
        path = os.fspath(sample.image)
        if self._root is not None and not self._is_below(os.path.dirname(path)):
            path = os.fspath(real(self._root, sample.image))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would make it wait
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP or self._root is None:
                raise
            descriptor = os.open(real(self._root, sample.image), flags)
        with open(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path}: is no file")
            if found.st_size > MAX_FILE:
                raise ValueError(f"{path}: has {found.st_size} bytes, more than any image ({MAX_FILE})")
            return file.read()
