"""What readers of official layouts share: paths that stay below the root, label files, names of classes.

Whatever a list or a folder says comes from strangers: a name may lead elsewhere, a file may be of another encoding, a
line may never end. These functions turn that into `Damage` of one entry, or into a DataError that names file and line.
"""

import contextlib
import contextvars
import csv
import errno
import itertools
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Sample
from ferbench.errors import DataError, suggestion

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
MAX_LINE = 2**20
"""Characters of the longest line that is read; a row of FER2013 has 9,000."""
MAX_FOLDERS = 1000
MAX_FILE = 2**28
MAX_QUOTED = 100

_noted: contextvars.ContextVar[list[Path] | None] = contextvars.ContextVar("noted", default=None)

Row = TypeVar("Row")

CODES = {
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
    "af": "fear",
    "fe": "fear",
    "di": "disgust",
    "an": "anger",
    "ne": "neutral",
}
"""The codes of KDEF and JAFFE, which differ in fear alone: KDEF has AF, JAFFE has FE."""
WORDS = {
    **{name: name for name in (*EIGHT_CLASSES, "other")},
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "afraid": "fear",
    "fearful": "fear",
    "disgusted": "disgust",
    "angry": "anger",
    "contemptuous": "contempt",
}
ALIASES = {**WORDS, **CODES}


def class_name(text: str) -> str:
    """The canonical name of a class that a layout spells its own way; raises ValueError for no expression."""
    name = text.strip().lower()
    if name not in ALIASES:
        raise ValueError(f"{quoted(text.strip())} is no expression{suggestion(name[:MAX_QUOTED], WORDS)}")
    return ALIASES[name]


def quoted(text: str) -> str:
    """The beginning of a text as a message can show it: in quotes, without control characters."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def printable(text: str) -> str:
    r"""A text that names something; raises ValueError where it has a control character, or half a character.

    JSON can write such a half (`"\ud800"`), which no file can hold.
    """
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} is no printable text")
    return text


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
        raise ValueError(f"{path}: leads out of {root}; put the file itself there")
    return found


def real(root: Path, path: Path) -> Path:
    """The file that a path leads to, as `inside` does; raises ValueError for what is no regular file.

    To open a pipe would wait.
    """
    found = inside(root, path)
    if not found.is_file():
        raise ValueError(f"{path}: not a file")
    return found


def find(root: Path, *names: str, depth: int = 2) -> Path | None:
    """The first of `names` (relative paths) that exists in `root` or in a folder at most `depth` below it."""
    found = next(_places(root, names, depth), None)
    noted = _noted.get()
    if found is not None and noted is not None:
        noted.append(found)
    return found


def _places(root: Path, names: Sequence[str], depth: int) -> Iterator[Path]:
    folders = [root]
    for level in range(depth + 1):
        if level:
            folders = [inner for folder in folders for inner in subfolders(folder)][:MAX_FOLDERS]
        yield from (folder / name for folder in folders for name in names if (folder / name).exists())


@contextlib.contextmanager
def noting_what_is_found() -> Iterator[list[Path]]:
    """A list that gets every path that `find` and `require` return meanwhile, to show what a reader reads."""
    noted: list[Path] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def require_one(root: Path, *names: str, depth: int = 2, hint: str = "") -> Path:
    """What `require` finds; raises DataError also where there are several, since they would be different data."""
    found = list(_places(root, names, depth))
    if len(found) > 1:
        places = ", ".join(str(path.relative_to(root)) for path in found)
        raise DataError(f"{root}: {places} are here, and one is read; move the others out of --root")
    return require(root, *names, depth=depth, hint=hint)


def require(root: Path, *names: str, depth: int = 2, hint: str = "", others: Mapping[str, str] | None = None) -> Path:
    """What `find` finds; raises DataError naming everything that was looked for, and the remedy.

    `others` are files of other layouts, each with the remedy where it is what is there.
    """
    found = find(root, *names, depth=depth)
    if found is None:
        missing = f"no {' or '.join(names)} here{f' or up to {depth} folders below' if depth else ''}"
        for name, remedy in (others or {}).items():
            if find(root, name, depth=depth):
                hint = f"there is {name}: {remedy}"
                break
        raise DataError(f"{root}: {missing}{hint and '; '}{hint}")
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and links."""
    return [Path(entry) for entry in _visible(folder) if entry.is_dir(follow_symlinks=False)]


def files(folder: Path, *endings: str) -> list[Path]:
    """What in a folder has one of these endings, in any case, by name and without hidden ones."""
    return [Path(entry) for entry in _visible(folder) if entry.name.lower().endswith(endings)]


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder by name, without hidden ones."""
    return files(folder, *IMAGE_SUFFIXES)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    # Entries know whether they are folders: among 290,000 images a look at each would take longer than the rest.
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from None


def class_folders(
    root: Path, folder: Path, name_of: Callable[[str], str] = class_name
) -> Iterator[tuple[str, tuple[Path, str]] | Damage]:
    """The images of a folder with one folder per class: where each stands below `root`, its path and its class.

    Damage is what would be left out: a folder of another name, one that links lead out of `root` to, of which nothing
    is listed, an image beside the folders, and a folder with images inside one of them.
    """
    try:
        inside(root, folder)
    except ValueError as error:
        yield Damage(str(folder.relative_to(root)), str(error))
        return
    for path in image_files(folder):
        if not path.is_dir():
            yield Damage(str(path.relative_to(root)), "lies in no class folder; move it into that of its class")
    for inner in (Path(entry) for entry in _visible(folder) if entry.is_dir()):
        try:
            inside(root, inner)
            name = name_of(inner.name)
        except (OSError, ValueError) as error:
            yield Damage(str(inner.relative_to(root)), str(error))
            continue
        yield from ((str(path.relative_to(root)), (path, name)) for path in image_files(inner))
        for nested in (Path(entry) for entry in _visible(inner) if entry.is_dir()):
            # What links lead to is not looked through: it may be the whole disk.
            if inner.is_symlink() or nested.is_symlink() or _holds_images(nested):
                reason = "is not read, as it lies in a class folder; move its images up into that"
                yield Damage(str(nested.relative_to(root)), reason)


def _holds_images(folder: Path) -> bool:
    """Whether there is an image file in a folder, at any depth."""
    folders = [folder]
    while folders:
        current = folders.pop()
        if image_files(current):
            return True
        folders += subfolders(current)
    return False


def read_lines(root: Path, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers from 1, without line ends and a byte order mark.

    Raises DataError naming the line that is not UTF-8 or does not end, and where the file cannot be read.
    """
    number = 0
    try:
        with real(root, path).open(encoding="utf-8-sig", errors="surrogateescape") as file:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise DataError(f"{path}:{number}: this line has over {MAX_LINE} characters; copy the file again")
                # Text is decoded in blocks: only so is it known in which line a byte stands that is none of UTF-8.
                line.encode()
                yield number, line.rstrip("\r\n")
    except UnicodeEncodeError:
        raise DataError(f"{path}:{number}: not UTF-8; save the file as UTF-8 or copy it again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_table(
    root: Path,
    path: Path,
    columns: Sequence[str],
    *,
    delimiters: str = ",;\t",
    header: bool = True,
    hint: str = "",
) -> Iterator[tuple[str, Mapping[str, str]] | Damage]:
    """The rows of a file with a header, each with where it stands (`labels.csv:17`).

    The delimiter is the one that yields the columns. Their order does not matter, nor case and spaces around names;
    further ones are passed on. A row that has too few or too many fields is Damage; a header that lacks columns is a
    DataError that ends with `hint`. Without `header` the first line may already be a row: of these columns, in this
    order.
    """
    lines = read_lines(root, path)
    number, line = next(lines, (1, ""))
    wanted = [name.lower() for name in columns]
    delimiter, names = _header(line, wanted, delimiters)
    if not names and not header:
        delimiter, names = _delimiter(line, len(columns), delimiters), wanted
        lines = itertools.chain([(number, line)], lines)
    if not delimiter:
        raise DataError(f"{path}:1: {quoted(line)} does not have the columns {', '.join(columns)}{hint and '; '}{hint}")
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{path.relative_to(root)}:{number}"
        try:
            fields = _fields(line, delimiter)
        except csv.Error as error:
            yield Damage(where, str(error))
            continue
        if len(fields) != len(names):
            yield Damage(where, f"{len(fields)} fields instead of {len(names)}")
        else:
            yield where, dict(zip(names, fields, strict=True))


def _header(line: str, columns: Sequence[str], delimiters: str) -> tuple[str, list[str]]:
    """The delimiter and the names of a header that has the columns, or nothing."""
    for delimiter in delimiters:
        with contextlib.suppress(csv.Error):
            names = [name.strip().lower() for name in _fields(line, delimiter)]
            if set(columns) <= set(names):
                return delimiter, names
    return "", []


def _delimiter(line: str, n: int, delimiters: str) -> str:
    """What splits a row into so many fields, or nothing."""
    for delimiter in delimiters:
        with contextlib.suppress(csv.Error):
            if len(_fields(line, delimiter)) == n:
                return delimiter
    return ""


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def parsed(
    rows: Iterable[tuple[str, Row] | Damage], sample_of: Callable[[Row], Sample | None]
) -> Iterator[Sample | Damage]:
    """The sample of each row; None gives nothing, and a ValueError is the Damage of its row."""
    for row in rows:
        if isinstance(row, Damage):
            yield row
            continue
        where, content = row
        try:
            sample = sample_of(content)
        except ValueError as error:
            yield Damage(where, str(error))
        else:
            if sample:
                yield sample


def number_in(text: str, known: Mapping[int, str] | Iterable[int]) -> int:
    """The integer of a label field that must be one of `known`; raises ValueError naming them."""
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or value not in (known := list(known)):
        raise ValueError(f"label {quoted(text)} is none of {', '.join(map(str, known))}")
    return value


class ImageFiles:
    """Reads the image files of samples, which must lie below `root`, or anywhere for None.

    Whether a folder is below is looked up once, so this is for one pass: a link that is put there later is not noticed.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._below: dict[str, bool] = {}

    def read(self, sample: Sample) -> bytes:
        """The bytes of an image file.

        Raises ValueError where links lead out of the root, for what is no file and for a file above `MAX_FILE`; OSError
        where nothing is.
        """
        if isinstance(sample.image, bytes):
            return sample.image
        path = os.fspath(sample.image)
        if self._root is not None and not self._is_below(self._root, os.path.dirname(path)):
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

    def _is_below(self, root: Path, folder: str) -> bool:
        if folder not in self._below:
            self._below[folder] = Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))
        return self._below[folder]


def float_in(text: str) -> float:
    """The number of a field; raises ValueError showing what it holds instead."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no number") from None


def face_box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """A box of four numbers; raises ValueError where it is empty or not finite."""
    box = (x0, y0, x1, y1)
    if not (all(map(math.isfinite, box)) and x0 < x1 and y0 < y1):
        raise ValueError(f"no face box: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return box
