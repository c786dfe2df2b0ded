"""Reader for `root/<split>/<class>/*.jpg`, the most common layout."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from ferbench.builtin.datasets.named import NamedDataset
from ferbench.contract.dataset import Damage, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_folders
from ferbench.readers.paths import folders_below, image_files, subfolders
from ferbench.readers.tables import parsed


class ImageFolder(NamedDataset):
    """Reads split folders (train, validation, test, unlabeled), each with one folder per class.

    Without split folders, every image is used for training. A class folder next to split folders is an error, because
    its images would belong to no split. Below `unlabeled`, images may be at any depth.
    """

    rule = "folders of splits, in them a folder of each class; the folder's name is the label"

    def found_classes(self) -> Iterator[str]:
        for _, folder in self._splits():
            for inner in subfolders(folder):
                with suppress(ValueError):
                    yield self.known_class(inner.name)

    def samples(self) -> Iterator[Sample | Damage]:
        for split, folder in self._splits():
            if split == "unlabeled":
                yield from self._unlabeled(folder)
            else:
                yield from parsed(class_folders(self.folder, folder, self.class_of), partial(self._labeled, split))

    def _splits(self) -> list[tuple[SplitName, Path]]:
        folders = subfolders(self.folder)
        found = [(self.split_of(folder.name), folder) for folder in folders if self.is_split(folder.name)]
        classes = [folder.name for folder in folders if self._is_class(folder.name)]
        if found and classes:
            raise DataError(
                f"{self.folder}: class folders ({', '.join(classes)}) are next to split folders "
                f"({', '.join(folder.name for _, folder in found)}); move them into a split folder, such as train"
            )
        for folder in folders if found else []:
            if not self.is_split(folder.name):
                self.account.explain(
                    folder.name, f"next to split folders; if it is a split, add --split {folder.name}=test"
                )
        return found or [("train", self.folder)]

    def _is_class(self, name: str) -> bool:
        with suppress(ValueError):
            return bool(self.known_class(name))
        return False

    def _labeled(self, split: SplitName, found: tuple[Path, str]) -> Sample:
        path, label = found
        return Sample(path.relative_to(self.folder).as_posix(), path, split, label)

    def _unlabeled(self, folder: Path) -> Iterator[Sample]:
        for path in (path for inner in folders_below(folder) for path in image_files(inner)):
            yield Sample(path.relative_to(self.folder).as_posix(), path, "unlabeled")
