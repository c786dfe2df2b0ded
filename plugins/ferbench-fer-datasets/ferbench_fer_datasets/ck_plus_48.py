"""CK+48: the last three frames of CK+'s sequences, cut to faces of 48 px, with one folder per class."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ferbench.contract.dataset import Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.classes import class_folders
from ferbench.readers.layout import MAX_FOLDERS, LayoutReader
from ferbench.readers.paths import image_files, subfolders
from ferbench.readers.tables import parsed
from ferbench.readers.text import quoted
from ferbench_fer_datasets.ck_plus import EXPRESSIONS, CkPlus
from ferbench_fer_datasets.folder_names import class_of_folder

# S010_004_00000017: subject, sequence, frame.
STEM = re.compile(r"((S\d{3})_\d{3})_\d{8}")
DEPTH = 2


class CkPlus48(LayoutReader):
    """The 981 faces that users of Kaggle share; the name of each image contains subject and sequence."""

    @property
    def info(self) -> DatasetInfo:
        return replace(
            CkPlus(self.root).info,
            name="ck-plus-48",
            title="CK+48 (last three frames of each labeled sequence, cut to faces of 48 px by whoever made the copy)",
            rule="a re-upload of CK+, whose pixels are not the published ones; labels are names of folders; 7 classes "
            "have contempt and no neutral, 6 have neither; no official split, folds are by subject",
        )

    def samples(self) -> Iterator[Sample | Damage]:
        yield from parsed(class_folders(self.folder, self._base(), _class_of_folder), _sample)

    def _base(self) -> Path:
        """The folder nearest to the root that has class folders with frames of CK+."""
        level = [self.folder]
        for _ in range(DEPTH + 1):
            for folder in level:
                if any(map(_is_class_folder, subfolders(folder))):
                    self.found[folder] = None
                    return folder
            level = [inner for folder in level for inner in subfolders(folder)][:MAX_FOLDERS]
        raise DataError(
            f"{self.folder}: no class folder with images such as S010_004_00000017.png here or up to {DEPTH} folders "
            "below; --root is the folder CK+48"
        )


def _is_class_folder(folder: Path) -> bool:
    try:
        class_of_folder(folder.name)
    except ValueError:
        return False
    return any(STEM.fullmatch(path.stem) for path in image_files(folder)[:1])


def _class_of_folder(name: str) -> str:
    label = class_of_folder(name)
    if label not in EXPRESSIONS:
        raise ValueError(f"CK+48 has no class {quoted(name)}")
    return label


def _sample(image: tuple[Path, str]) -> Sample:
    path, label = image
    parts = STEM.fullmatch(path.stem)
    if parts is None:
        raise ValueError("is not named like S010_004_00000017.png")
    return Sample(path.stem, path, "train", label, subject=parts[2], video=parts[1])
