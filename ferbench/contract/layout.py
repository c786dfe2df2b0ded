"""What readers of official layouts share: paths that stay below the root, label files, names of classes.

Whatever a list or a folder says comes from strangers: a name may lead elsewhere, a file may be of another encoding, a
line may never end. These functions turn that into `Damage` of one entry, or into a DataError that names file and line.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ferbench.contract.dataset import EIGHT_CLASSES, Damage
from ferbench.errors import DataError, suggestion

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
MAX_LINE = 2**20
"""Characters of the longest line that is read; a row of FER2013 has 9,000."""
MAX_FOLDERS = 1000

ALIASES = {
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


def class_name(text: str) -> str:
    """The canonical name of a class that a layout spells its own way; raises ValueError for no expression."""
    name = text.strip().lower()
    if name not in ALIASES:
        raise ValueError(f"'{text.strip()}' is no expression{suggestion(name, ALIASES)}")
    return ALIASES[name]


def below(root: Path, name: str) -> Path:
    """The path of a file that a list names; raises ValueError for a name that would lead out of `root`.

    Links are not followed here: whoever opens the path asks `real`.
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"'{name}' is no path below {root}")
    return root / path


def real(root: Path, path: Path) -> Path:
    """The file that a path leads to; raises ValueError where links lead out of `root`, OSError where nothing is."""
    found = Path(os.path.realpath(path, strict=True))  # Path.resolve has an error of its own for links in a circle
    if not found.is_relative_to(root.resolve()):
        raise ValueError(f"{path}: leads out of {root}; put the file itself there")
    return found


def find(root: Path, *names: str, depth: int = 2) -> Path | None:
    """The first of `names` (relative paths) that exists in `root` or in a folder at most `depth` below it."""
    folders = [root]
    for level in range(depth + 1):
        if level:  # listed only where it is needed: the next level may be a million images
            folders = [inner for folder in folders for inner in subfolders(folder)][:MAX_FOLDERS]
        for folder in folders:
            for name in names:
                if (folder / name).exists():
                    return folder / name
    return None


def require(root: Path, *names: str, depth: int = 2, hint: str = "") -> Path:
    """What `find` finds; raises DataError naming everything that was looked for."""
    found = find(root, *names, depth=depth)
    if found is None:
        listed = " or ".join(names)
        raise DataError(f"{root}: no {listed} here or up to {depth} folders below{hint and '; '}{hint}")
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and links."""
    return [entry for entry in _visible(folder) if entry.is_dir() and not entry.is_symlink()]


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder by name, without hidden ones."""
    return [entry for entry in _visible(folder) if entry.suffix.lower() in IMAGE_SUFFIXES]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed as a folder ({error.strerror or error})") from None


def read_lines(root: Path, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers from 1, without line ends and a byte order mark.

    Raises DataError naming the line that is not UTF-8 or does not end, and where the file cannot be read.
    """
    number = 0
    try:
        with real(root, path).open(encoding="utf-8-sig") as file:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise DataError(f"{path}:{number}: this line has over {MAX_LINE} characters; copy the file again")
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 after line {number} ({error.reason}); save the file as UTF-8 or copy it again"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_table(
    root: Path, path: Path, columns: Sequence[str], *, delimiters: str = ",;\t"
) -> Iterator[tuple[str, Mapping[str, str]] | Damage]:
    """The rows of a file with a header, each with where it stands (`labels.csv:17`).

    The delimiter is the one that yields the columns. Their order does not matter, nor case and spaces around names;
    further ones are passed on. A row that has too few or too many fields is Damage; a header that lacks columns is a
    DataError.
    """
    lines = read_lines(root, path)
    _, first = next(lines, (1, ""))
    for delimiter in delimiters:
        header = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if {name.lower() for name in columns} <= set(header):
            break
    else:
        raise DataError(f"{path}:1: the header is '{first[:200]}'; it must have the columns {', '.join(columns)}")
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{path.relative_to(root)}:{number}"
        try:
            fields = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            yield Damage(where, str(error))
            continue
        if len(fields) != len(header):
            yield Damage(where, f"{len(fields)} fields, the header has {len(header)}")
        else:
            yield where, dict(zip(header, fields, strict=True))


def number_in(text: str, known: Mapping[int, str] | Iterable[int]) -> int:
    """The integer of a label field that must be one of `known`; raises ValueError naming them."""
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or value not in (known := list(known)):
        raise ValueError(f"label '{text}' is none of {', '.join(map(str, known))}")
    return value
