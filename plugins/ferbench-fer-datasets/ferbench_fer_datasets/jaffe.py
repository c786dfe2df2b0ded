"""JAFFE: 213 posed expressions of ten Japanese women."""

import re
from collections.abc import Iterator

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import image_files

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
STEM = re.compile(rf"([A-Z]{{2}})\.({'|'.join(NAMES)})\d\.\d+")
# The sum is official, the single numbers are not verified.
OFFICIAL = {"train": dict(zip(NAMES.values(), (30, 29, 32, 31, 30, 31, 30), strict=True))}


class Jaffe(LayoutReader):
    """Subject and label are in the name of the image."""

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
        folder = self.find("jaffe", "jaffedbase") or self.folder
        images = image_files(folder)
        if not images:
            raise DataError(f"{folder}: no images here; --root is the folder of KA.AN1.39.tiff and the others")
        for path in images:
            if parts := STEM.fullmatch(path.stem.upper()):
                yield Sample(parts[0], path, "train", NAMES[parts[2]], subject=parts[1])
            else:
                yield Damage(str(path.relative_to(self.folder)), "is not named like KA.AN1.39.tiff")
