"""`root/<split>/<class>/*.jpg`: the layout of most copies."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ferbench.builtin.datasets.named import SPLITS, NamedDataset, split_name
from ferbench.contract.dataset import Damage, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import ALIASES, class_folders, class_name
from ferbench.readers.paths import image_files, subfolders
from ferbench.readers.tables import parsed


class ImageFolder(NamedDataset):
    """Folders of splits (train, validation, test, unlabeled) with a folder of each class.

    Without folders of splits all images are training images; beside folders of splits no class folder may stand, as its
    images would belong to no split. Below `unlabeled` images may lie at any depth.
    """

    rule = "folders of splits, in them a folder of each class; the folder's name is the label"

    def found_classes(self) -> Iterator[str]:
        for _, folder in self._splits():
            for inner in subfolders(folder):
                try:
                    yield class_name(inner.name)
                except ValueError:
                    continue

    def samples(self) -> Iterator[Sample | Damage]:
        for split, folder in self._splits():
            if split == "unlabeled":
                yield from self._unlabeled(folder)
            else:
                yield from parsed(class_folders(self.folder, folder), partial(self._labeled, split))

    def _splits(self) -> list[tuple[SplitName, Path]]:
        folders = subfolders(self.folder)
        found = [(split_name(folder.name), folder) for folder in folders if folder.name.lower() in SPLITS]
        classes = [folder.name for folder in folders if folder.name.lower() in ALIASES]
        if found and classes:
            raise DataError(
                f"{self.folder}: folders of classes ({', '.join(classes)}) stand beside folders of splits "
                f"({', '.join(folder.name for _, folder in found)}); move them into one of these, such as train"
            )
        return found or [("train", self.folder)]

    def _labeled(self, split: SplitName, found: tuple[Path, str]) -> Sample:
        path, label = found
        return Sample(path.relative_to(self.folder).as_posix(), path, split, label)

    def _unlabeled(self, folder: Path) -> Iterator[Sample]:
        for path in image_files(folder):
            yield Sample(path.relative_to(self.folder).as_posix(), path, "unlabeled")
        for inner in subfolders(folder):
            yield from self._unlabeled(inner)
