"""Copies of RAF-DB with one folder per class, and the codes and names that all copies share."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_folders
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import image_files, is_folder, is_inside, subfolders, visible
from ferbench.readers.tables import number_in, parsed
from ferbench.readers.text import quoted
from ferbench_fer_datasets.folder_names import class_of_folder

NAMES = {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"}
VALIDATION = ("valid", "val", "validation")

_STEM = re.compile("(train|test)_[0-9]{4,5}")


def class_of(number: str) -> str:
    """The class of a label from 1 to 7; raises ValueError for other texts."""
    return NAMES[number_in(number, NAMES)]


def split_of(stem: str) -> SplitName:
    """The split at the beginning of an image's name; raises ValueError if the name has another form."""
    match = _STEM.fullmatch(stem)
    if not match:
        raise ValueError(f"{quoted(stem)} is not named like train_00001 or test_0001")
    return "train" if match[1] == "train" else "test"


def is_reupload(train: Path) -> bool:
    """Whether a folder has class folders with images that have RAF-DB's names."""
    return any(_STEM.match(path.stem) for folder in subfolders(train) for path in image_files(folder)[:1])


@dataclass(frozen=True)
class Reupload:
    """`train` and `test` (or `valid`) with one folder per class, in the folder `base` below the root.

    Images have their published names, which contain the split. Lists next to the folders are compared with them.
    """

    dataset: LayoutReader
    base: Path

    @cached_property
    def _folders(self) -> Mapping[Path, SplitName]:
        """The folders of splits, each with the split that the names of its images must have."""
        # A folder may be a link, as long as it leads to a folder below the root.
        there = (Path(entry) for entry in visible(self.base) if is_folder(entry))
        found = {path.name.lower(): path for path in there if is_inside(self.dataset.folder, path)}
        folders: dict[Path, SplitName] = {found["train"]: "train"}
        if "test" in found:
            folders[found["test"]] = "test"
        for name in VALIDATION:
            if name in found:
                folders[found[name]] = "train" if "test" in found else "test"
        return folders

    @property
    def rule(self) -> str:
        """A description of the copy, and of its differences from the published dataset."""
        names = {folder.name.lower(): split for folder, split in self._folders.items()}
        words = (
            "a re-upload: labels are names of folders (a number is RAF-DB's code, 1 to 7), ids and splits are those "
        )
        words += "of the publishers, from the names of images"
        for name in VALIDATION:
            if names.get(name) == "test":
                words += f"; its folder '{name}' is the published test set, so nothing may be chosen on it"
            elif name in names:
                words += f"; its folder '{name}' is a part of the published training set and is read as such"
        return words

    def samples(self) -> Iterator[Sample | Damage]:
        """The images of all folders; raises DataError if folders count from 0 or a split is missing."""
        if "test" not in self._folders.values():
            raise DataError(f"{self.base}: no folder test or valid next to train; copy it there")
        for folder, split in self._folders.items():
            if (folder / "0").exists():
                raise DataError(
                    f"{folder / '0'}: RAF-DB counts its classes from 1, but this copy counts from 0, in an unknown "
                    "order; rename its folders to class names, such as happiness"
                )
            listed: dict[str, str] = {}
            for entry in self._rows(folder):
                if isinstance(entry, Damage):
                    yield entry
                elif reason := self._problem(entry[1], listed):
                    yield Damage(entry[0], reason)
            images = class_folders(self.dataset.folder, folder, _class_of_folder)
            yield from parsed(images, functools.partial(self._sample, listed, folder.name, split))

    @cached_property
    def _images(self) -> frozenset[str]:
        """The names of all images."""
        folders = (inner for folder in self._folders for inner in subfolders(folder))
        return frozenset(path.name for folder in folders for path in image_files(folder))

    def _problem(self, row: Mapping[str, str], listed: dict[str, str]) -> str:
        """The problem with a row of a list, or ""; the label of the row is added to `listed`."""
        name, label = row["image"], row["label"]
        if name not in self._images:
            return f"no folder contains {quoted(name)}"
        if listed.setdefault(name, label) != label:
            return f"{quoted(name)} is {quoted(listed[name])} in another row, but {quoted(label)} here"
        return ""

    def _rows(self, folder: Path) -> Iterator[tuple[str, Mapping[str, str]] | Damage]:
        """The rows of the folder's list, if any; raises DataError if the list has other columns."""
        names = (f"{folder.name}_labels.csv", f"{folder.name}.csv")
        places = (place / name for place in (self.base, self.base.parent, folder) for name in names)
        path = next((place for place in places if place.is_relative_to(self.dataset.folder) and place.is_file()), None)
        if path is not None:
            self.dataset.account.use(path, "compared with the folders")
            hint = "this list of a re-upload is not needed; remove it"
            yield from self.dataset.table(path, ("image", "label"), hint=hint)

    def _sample(self, listed: Mapping[str, str], folder: str, split: SplitName, image: tuple[Path, str]) -> Sample:
        path, expression = image
        stem = path.stem.removesuffix("_aligned")
        if split_of(stem) != split:
            raise ValueError(f"is in the folder {quoted(folder)}")
        label = listed.get(path.name)
        if label is not None and _class_of_folder(label) != expression:
            raise ValueError(f"its list says {quoted(label)}, but its folder is {quoted(path.parent.name)}")
        return Sample(stem, path, split_of(stem), expression)


def _class_of_folder(name: str) -> str:
    """The class of a folder's name: a class name, with or without a number, or RAF-DB's code."""
    label = class_of(name) if name.strip().isdecimal() else class_of_folder(name)
    if label not in SEVEN_CLASSES:
        raise ValueError(f"RAF-DB has no class {quoted(name)}")
    return label
