"""AffectNet as users of Kaggle share it with a list: labels.csv next to folders of images."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ferbench.contract.dataset import Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import parsed, read_lines
from ferbench.readers.text import quoted
from ferbench_fer_datasets.affectnet import SHARED
from ferbench_fer_datasets.affectnet_yolo import DERIVED

LIST = "labels.csv"
PATHS = ("pth", "path", "image", "file_name", "filename")
SPLITS: Mapping[str, SplitName] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class AffectNetCsv(LayoutReader):
    """`pth,label,relFCs`: labels are class names, which may differ from the folder of the image."""

    @property
    def info(self) -> DatasetInfo:
        return replace(
            SHARED,
            name="affectnet-csv",
            title="AffectNet (re-upload with labels.csv)",
            rule=f"{DERIVED}; labels are the names in {LIST}, which a model has changed in part, not those of folders; "
            "the split is the first folder of a path where that is train, valid or test, else train",
        )

    def samples(self) -> Iterator[Sample | Damage]:
        path = self.require(LIST, hint=f"--root is the folder with the images and {LIST} (columns pth and label)")
        column = self._path_column(path)
        base = path.parent
        for name, role in ((column, "image"), ("label", "label")):
            self.account.read("column", name, role)
        return parsed(self.table(path, (column, "label")), lambda row: _sample(base, row[column], row))

    def _path_column(self, path: Path) -> str:
        header = next(read_lines(self.folder, path), (1, ""))[1].lower()
        names = [name.strip(" \t\"'") for name in header.replace(";", ",").replace("\t", ",").split(",")]
        found = next((name for name in PATHS if name in names), None)
        if found is None:
            raise DataError(f"{path}:1: {quoted(header)} has no column of paths; name it one of {', '.join(PATHS)}")
        return found


def _sample(base: Path, name: str, row: Mapping[str, str]) -> Sample | None:
    path = below(base, name)
    label = class_name(row["label"])
    first = PurePosixPath(path.relative_to(base).as_posix()).parts[0].lower()
    return Sample(path.relative_to(base).as_posix(), path, SPLITS.get(first, "train"), label)
