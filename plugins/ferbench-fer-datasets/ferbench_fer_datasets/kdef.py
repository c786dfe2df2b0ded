"""KDEF: posed expressions of 70 people in two sessions, from five angles."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import image_files, subfolders
from ferbench_fer_datasets.omitted import leave_folder, omit

NAMES = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
# AF01AFHL: session, gender and number of the person, expression, angle. "AF" may also be session and gender.
STEM = re.compile(rf"([AB])([FM]\d\d)({'|'.join(NAMES)})(S|HL|HR|FL|FR)")
PER_CLASS = 70 * 2


class Kdef(LayoutReader):
    """The frontal faces; subject, label and angle are in the name of each image."""

    angles: ClassVar[tuple[str, ...]] = ("S",)

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="kdef",
            title="KDEF (frontal)",
            licence="non-commercial research, no redistribution (kdef.se)",
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="kdef",
            citation="Lundqvist, Flykt and Öhman, Karolinska Institutet 1998, ISBN 91-630-7164-9",
            gated=True,
            native=NAMES,
            rule="subject, label and angle are in the name of each image; only S, straight; both sessions of a person "
            "are one subject; no official split, folds are by subject",
            official={"train": dict.fromkeys(NAMES.values(), PER_CLASS)},
        )

    def samples(self) -> Iterator[Sample | Damage]:
        folder = self.find("KDEF_and_AKDEF/KDEF", "KDEF") or self.folder
        images = [path for part in (folder, *subfolders(folder)) for path in image_files(part)]
        if not images:
            raise DataError(f"{folder}: no images here or in its folders; --root is the folder with AF01/AF01ANS.JPG")
        if folder != self.folder:
            leave_folder(self, folder.parent / "AKDEF", "averaged faces")
        for path in images:
            parts = STEM.fullmatch(path.stem.upper())
            if parts is None:
                yield Damage(str(path.relative_to(self.folder)), "is not named like AF01ANS.JPG")
                continue
            session, subject, expression, angle = parts.groups()
            if angle in self.angles:
                about = {"session": session, "angle": angle}
                yield Sample(parts[0], path, "train", NAMES[expression], subject=subject, attributes=about)
            else:
                omit(self, path, "has another angle")


class KdefAllAngles(Kdef):
    """The faces from all five angles."""

    angles = ("S", "HL", "HR", "FL", "FR")

    @property
    def info(self) -> DatasetInfo:
        frontal = super().info
        return replace(
            frontal,
            name="kdef-all-angles",
            title="KDEF (all five angles)",
            native=NAMES,
            rule="subject, label and angle are in the name of each image; both sessions of a person are one subject; "
            "no official split, folds are by subject",
            official={"train": dict.fromkeys(NAMES.values(), PER_CLASS * len(self.angles))},
        )
