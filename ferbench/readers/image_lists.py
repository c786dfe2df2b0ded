"""The image files that a person names: files, folders, and lists of paths."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench.readers.paths import folders_below, image_files
from ferbench.readers.tables import read_table

LISTS = (".csv", ".tsv")
COLUMN = "path"


def named_images(places: Iterable[Path]) -> Iterator[Path | Damage]:
    """Each file; the image files of a folder, at any depth; the column `path` of a CSV, below its folder or anywhere.

    What names no image is Damage, and the others go on.
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
            paths = image_files(inner)
        except DataError as error:
            yield Damage(str(inner), _reason(inner, error))
            continue
        found |= bool(paths)
        yield from paths
    if not found:
        yield Damage(str(folder), "no image file in this folder or below")


def _of_list(path: Path) -> Iterator[Path | Damage]:
    for row in read_table(path.parent, path, (COLUMN,), hint=f"name the column of the paths '{COLUMN}'"):
        if isinstance(row, Damage):
            yield Damage(str(path.parent / row.record), row.reason)
        elif name := row[1][COLUMN].strip():
            yield path.parent / name
        else:
            yield Damage(str(path.parent / row[0]), "no path")


def _reason(path: Path, error: Exception) -> str:
    """What an error says beside the name of the file."""
    return str(error).removeprefix(f"{path}:1: ").removeprefix(f"{path}: ")
