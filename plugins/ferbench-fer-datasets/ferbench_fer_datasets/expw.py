"""ExpW: 91,793 faces found by searching the web for expressions."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.readers.damage import damage_of
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import number_in, read_lines
from ferbench_fer_datasets.omitted import leave_folder

NAMES = {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"}
FIELDS = ("image_name", "face_id", "top", "left", "right", "bottom", "confidence", "label")
TEST_PART = 0.15
# Both splits together, because there is no official split; the sum is official, the single numbers are not verified.
OFFICIAL = {"all": dict(zip(NAMES.values(), (3671, 3995, 1088, 30537, 10559, 7060, 34883), strict=True))}


class ExpW(LayoutReader):
    """Faces cut out of photographs; each line of the list is one face."""

    crop: float | None = 0.0

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="expw",
            title="ExpW (faces cut to their boxes)",
            licence="academic research (mmlab.ie.cuhk.edu.hk/projects/socialrelation)",
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="expw",
            citation="Zhang et al., ICCV 2015; Zhang et al., IJCV 2018",
            gated=True,
            native={str(code): name for code, name in NAMES.items()},
            rule="each distinct line of label.lst is a face; no official split: the faces of an image are in the test "
            "set where the first 8 bytes of the SHA-256 of its name, as a big-endian integer, are below 15 % of 2^64",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        labels = self.require("label/label.lst", "label.lst", hint="--root is the folder with label and data")
        images = self.require(
            "data/image/origin", "image/origin", "origin", hint="unpack the parts of the image archive"
        )
        leave_folder(self, images, f"a photograph without a face in {labels.name}")
        seen: set[tuple[str, ...]] = set()
        for number, line in read_lines(self.folder, labels):
            fields = tuple(line.rsplit(maxsplit=len(FIELDS) - 1))
            if not fields or fields in seen:
                continue
            seen.add(fields)
            try:
                yield _sample(images, fields)
            except ValueError as error:
                yield damage_of(f"{labels.relative_to(self.folder)}:{number}", error)


def _sample(images: Path, fields: tuple[str, ...]) -> Sample:
    if len(fields) != len(FIELDS):
        raise ValueError(f"{len(fields)} fields instead of {', '.join(FIELDS)}")
    path = below(images, fields[0])
    name = path.relative_to(images)
    face = int(fields[1])
    top, left, right, bottom, confidence = map(float, fields[2:7])
    if not (-math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf):
        raise ValueError(f"the box from {left:g}, {top:g} to {right:g}, {bottom:g} has no area")
    return Sample(
        f"{name.with_suffix('').as_posix()}/{face}",
        path,
        _split(name.as_posix()),
        NAMES[number_in(fields[7], NAMES)],
        box=(left, top, right, bottom),
        attributes={"confidence": confidence},
    )


def _split(name: str) -> SplitName:
    """The split of all faces of an image, the same on every machine."""
    rank = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return "test" if rank < TEST_PART * 2**64 else "train"
