"""The image files that the user names: files, folders, and lists of paths."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench.readers.images import OTHER_IMAGES
from ferbench.readers.paths import IMAGE_SUFFIXES, files, folders_below
from ferbench.readers.tables import read_table

LISTS = (".csv", ".tsv")
COLUMN = "path"


def named_images(places: Iterable[Path]) -> Iterator[Path | Damage]:
    """The named files, the image files below named folders, and the files in the column `path` of named CSV files.

    Paths in a CSV are absolute, or relative to its folder. Image files of every format are yielded, also of those that
    cannot be decoded, so that no photo is skipped without a word. Yields Damage for a name without an image, and
    continues.
    """
    for place in places:
        try:
            if place.is_dir():
                yield from _of_folder(place)
            elif place.suffix.lower() in LISTS:
                yield from _of_list(place)
            else:
                yield place if place.exists() else Damage(str(place), "there is no such file")
        except (DataError, OSError) as error:
            yield Damage(str(place), _reason(place, error))


def _of_folder(folder: Path) -> Iterator[Path | Damage]:
    found = False
    for inner in folders_below(folder):
        try:
            paths = files(inner, *IMAGE_SUFFIXES, *OTHER_IMAGES)
        except DataError as error:
            yield Damage(str(inner), _reason(inner, error))
            continue
        found |= bool(paths)
        yield from paths
    if not found:
        yield Damage(str(folder), "no image file in this folder or below")


def _of_list(path: Path) -> Iterator[Path | Damage]:
    row: tuple[str, Mapping[str, str]] | Damage | None = None
    for row in read_table(path.parent, path, (COLUMN,), hint=f"name the column of the paths '{COLUMN}'"):
        if isinstance(row, Damage):
            yield Damage(str(path.parent / row.record), row.reason)
            continue
        where, name = str(path.parent / row[0]), row[1][COLUMN].strip()
        if not name or "\0" in name:
            yield Damage(where, "the path contains a null byte" if name else "the path is empty")
        else:
            yield path.parent / name
    if row is None:
        yield Damage(str(path), "no path below the header")


def _reason(path: Path, error: Exception) -> str:
    """The text of an error, with `line 2: ` instead of the name of the file."""
    text = str(error).removeprefix(f"{path}:1: ").removeprefix(f"{path}: ")
    return re.sub(rf"^{re.escape(str(path))}:(\d+): ", r"line \1: ", text)
