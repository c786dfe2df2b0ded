"""FER2013 as folders of images, with the splits of the copy."""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_folders
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import subfolders
from ferbench.readers.tables import parsed
from ferbench.readers.text import quoted
from ferbench_fer_datasets.fer2013 import OFFICIAL, USAGES, Fer2013
from ferbench_fer_datasets.folder_names import class_of_folder

TRAIN = ("train", "Train", "Training", "training")
ANGRY = ("angry", "Angry", "anger", "Anger", "0_angry", "0_Angry", "0_anger")
VALIDATION = ("validation", "valid", "val")
TOGETHER = {"train": OFFICIAL["train"], "test": Counter(OFFICIAL["validation"]) + Counter(OFFICIAL["test"])}


class Fer2013Folders(LayoutReader):
    """One folder per split, with one folder per class; the test split depends on the copy."""

    @property
    def info(self) -> DatasetInfo:
        rule, official = self._splits_in_words()
        return replace(
            Fer2013(self.root).info,
            name="fer2013-folders",
            title="FER2013 (image folders)",
            rule=f"labels are names of folders; {rule}; ids are paths",
            official=official,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        base = self._base or self._require()
        for folder, split in self._splits(base).items():
            images = class_folders(self.folder, folder, _class_of_folder)
            yield from parsed(images, functools.partial(_from_folder, base, split))

    @cached_property
    def _base(self) -> Path | None:
        """The folder that contains the splits, or None."""
        if self.root is None or not self.root.is_dir():
            return None
        found = self.find(*(f"{train}/{angry}" for train in TRAIN for angry in ANGRY))
        return found.parents[1] if found else None

    def _require(self) -> Path:
        hint = (
            "--root is the folder with train and test, or with Training, PublicTest and PrivateTest, each with one "
            "folder per class"
        )
        return self.require("train/angry", "Training/angry", hint=hint).parents[1]

    def _splits(self, base: Path) -> Mapping[Path, SplitName]:
        """The folders of splits; without a test folder, the validation folder is the test split."""
        found = {path.name.lower(): path for path in subfolders(base)}
        usages = {usage.lower(): split for usage, split in USAGES.items()}
        splits = usages | {"train": "train", "test": "test", **dict.fromkeys(VALIDATION, "validation")}
        chosen = {path: splits[name] for name, path in found.items() if name in splits}
        if "test" not in chosen.values():
            if "publictest" in found:  # a folder of this name is never the test split
                raise DataError(f"{base}: no folder PrivateTest next to {found['publictest'].name}; copy it there")
            chosen = {path: "test" if split == "validation" else split for path, split in chosen.items()}
        return chosen

    def _splits_in_words(self) -> tuple[str, Mapping[str, Mapping[str, int]]]:
        """A description of this copy's splits, and the official numbers of images by split and class."""
        names = {path.name.lower() for path in self._splits(self._base)} if self._base else {"train", "test"}
        if {"publictest", "privatetest"} <= names:
            return "PublicTest is validation, PrivateTest is test", OFFICIAL
        if names.isdisjoint(VALIDATION):
            return "test is PublicTest and PrivateTest together", TOGETHER
        if "test" in names:
            return "the validation split is that of whoever made this copy, not the competition's", {}
        return "the validation folder is the test split, and whoever made this copy drew it, not the competition", {}


def _class_of_folder(name: str) -> str:
    label = class_of_folder(name)
    if label not in SEVEN_CLASSES:
        raise ValueError(f"FER2013 has no class {quoted(name)}")
    return label


def _from_folder(base: Path, split: SplitName, image: tuple[Path, str]) -> Sample:
    path, label = image
    return Sample(path.relative_to(base).as_posix(), path, split, label)
