"""AffectNet, release of 2017: images as found on the web, with face boxes and labels in lists."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import face_box, float_in, parsed
from ferbench_fer_datasets.affectnet import NAMES, NO_EXPRESSION, SHARED, TEST, TRAIN, class_of
from ferbench_fer_datasets.omitted import leave_folder, omit

LISTS: Mapping[str, SplitName] = {"training.csv": "train", "validation.csv": "test"}
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)


class AffectNet2017(LayoutReader):
    """The manually annotated images, cut to the face box of the lists."""

    crop = 0.0

    @property
    def info(self) -> DatasetInfo:
        return replace(
            SHARED,
            name="affectnet-2017",
            title="AffectNet (2017, manually annotated, cut to the face box)",
            native={str(code): name for code, name in NAMES.items() if name},
            rule=(
                f"expressions 0 to 7 of {' and '.join(LISTS)}; {NO_EXPRESSION}, nor do faces of negative width; "
                f"{TEST}; ids are paths"
            ),
            official={"train": TRAIN, "test": dict.fromkeys(EIGHT_CLASSES, 500)},
        )

    def samples(self) -> Iterator[Sample | Damage]:
        lists = self.require(
            "Manually_Annotated_file_lists",
            hint="--root is the folder with Manually_Annotated_file_lists and Manually_Annotated_Images",
        )
        images = self.require("Manually_Annotated_Images", hint="unpack Manually_Annotated_compressed there")
        if automatic := self.find("Automatically_Annotated_Images"):
            leave_folder(self, automatic, "automatically annotated")
        for name, split in LISTS.items():
            rows = self.table(self.require(name, within=lists, depth=0), COLUMNS, header=False)
            yield from parsed(rows, functools.partial(self._sample, images, split))

    def _sample(self, images: Path, split: SplitName, fields: Mapping[str, str]) -> Sample | None:
        expression = class_of(fields["expression"])
        path = below(images, fields["subdirectory_filepath"])
        if not expression:
            omit(self, path, "None, Uncertain or No-Face")
            return None
        x, y, width, height = (float_in(fields[f"face_{side}"]) for side in ("x", "y", "width", "height"))
        if width < 0:
            omit(self, path, "a face of negative width")
            return None
        box = face_box(x, y, x + width, y + height)
        return Sample(path.relative_to(images).as_posix(), path, split, expression, box=box)
