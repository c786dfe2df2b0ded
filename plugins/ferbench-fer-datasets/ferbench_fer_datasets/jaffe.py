"""JAFFE: 213 posed expressions of ten Japanese women."""

import re
from collections.abc import Iterator
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.layout import MAX_FOLDERS, LayoutReader
from ferbench.readers.paths import image_files, subfolders

NAMES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
# KA.AN1.39: subject, expression and its repetition, number.
DEPTH = 3
"""Levels of folders below the root that are searched."""
STEM = re.compile(rf"([A-Z]{{2}})\.({'|'.join(NAMES)})\d\.\d+")
# The sum is official, the single numbers are not verified.
OFFICIAL = {"train": dict(zip(NAMES.values(), (30, 29, 32, 31, 30, 31, 30), strict=True))}


class Jaffe(LayoutReader):
    """The name of each image contains subject and label."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="jaffe",
            title="JAFFE",
            licence="non-commercial research, no redistribution (zenodo.org/records/3451524)",
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="jaffe",
            citation="Lyons et al., FG 1998; Lyons, arXiv 2107.13998",
            gated=True,
            native=NAMES,
            rule="subject and label are in the name of each image; no official split, folds are by subject",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        folders = self._folders()
        if not folders:
            raise DataError(
                f"{self.folder}: no images here or up to {DEPTH} folders below; --root is the folder that contains "
                "KA.AN1.39.tiff"
            )
        for path in (path for folder in folders for path in image_files(folder)):
            if parts := STEM.fullmatch(path.stem.upper()):
                yield Sample(parts[0], path, "train", NAMES[parts[2]], subject=parts[1])
            else:
                yield Damage(str(path.relative_to(self.folder)), "is not named like KA.AN1.39.tiff")

    def _folders(self) -> list[Path]:
        """The folders nearest to the root with images of JAFFE, otherwise with any images.

        There are several if a copy has one folder per class; they are deeper if an archive was unpacked into a folder.
        """
        level, others = [self.folder], list[Path]()
        for _ in range(DEPTH + 1):
            having = [folder for folder in level if image_files(folder)]
            if own := [folder for folder in having if any(_named(path) for path in image_files(folder))]:
                self.found |= dict.fromkeys(own)
                return own
            others = others or having
            level = [inner for folder in level for inner in subfolders(folder)][:MAX_FOLDERS]
        return others


def _named(path: Path) -> bool:
    return STEM.fullmatch(path.stem.upper()) is not None
