"""AffectNet, release of 2021: 287,651 + 3,999 cut-out faces with one of eight expressions."""

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ferbench.contract.dataset import EIGHT_CLASSES, SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.readers.damage import about
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import files, image_files, real
from ferbench.readers.tables import number_in, parsed
from ferbench_fer_datasets.omitted import omit

NAMES = {
    0: "neutral",
    1: "happiness",
    2: "sadness",
    3: "surprise",
    4: "fear",
    5: "disgust",
    6: "anger",
    7: "contempt",
    8: None,
    9: None,
    10: None,
}
"""None, Uncertain and No-Face (8 to 10) are not expressions."""
NO_EXPRESSION = "None, Uncertain and No-Face (8 to 10) give no sample"
TEST = "test is the published validation set, since the official test set was never released"
TRAIN = dict(zip(EIGHT_CLASSES, (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750), strict=True))

LABEL = "_exp.npy"
MAX_BYTES = 1024
_ARRAY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|])([iuSU])(\d\d?)', 'fortran_order': False, 'shape': \((?:1,)?\), \} *\n",
    re.DOTALL,
)


def class_of(label: str) -> str | None:
    """The class of a label, None if it is not an expression; raises ValueError if it is not a label."""
    return NAMES[number_in(label, NAMES)]


def scalar(content: bytes) -> str:
    """The integer or string in a NumPy file as text; raises ValueError if it contains something else.

    numpy.load would allocate memory for any shape that the header claims, and it crashes on an invalid string.
    """
    header = _ARRAY.match(content)
    if not header or len(content) > MAX_BYTES:
        raise ValueError("not a NumPy file with one integer or string")
    order, kind, size = (group.decode() for group in header.groups())
    value = content[header.end() :]
    if len(value) != int(size) * (4 if kind == "U" else 1):
        raise ValueError(f"{len(value)} bytes are not one value of type {kind}{size}")
    if kind == "U":
        return value.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0")
    if kind == "S":
        return value.decode("ascii").rstrip("\0")
    return str(int.from_bytes(value, "big" if order == ">" else "little", signed=kind == "i"))


SHARED = DatasetInfo(
    name="affectnet",
    title="AffectNet (2021, cut-out faces)",
    licence="signed agreement, research only, no redistribution (mohammadmahoor.com/affectnet)",
    classes={"7": SEVEN_CLASSES, "8": EIGHT_CLASSES},
    default_classes="7",
    family="affectnet",
    citation="Mollahosseini et al., IEEE TAC 2019",
    gated=True,
)
"""The description that all copies share; each has its own name, title and rule."""


class AffectNet(LayoutReader):
    """The folders train_set and val_set, with the label of each image in a NumPy file."""

    @property
    def info(self) -> DatasetInfo:
        return replace(
            SHARED,
            native={str(code): name for code, name in NAMES.items() if name},
            rule=f"expressions 0 to 7 of *{LABEL}; {NO_EXPRESSION}; {TEST}; ids are names of images",
            official={"train": TRAIN, "test": dict.fromkeys(EIGHT_CLASSES, 500) | {"contempt": 499}},
        )

    def samples(self) -> Iterator[Sample | Damage]:
        train = self.require(
            "train_set/annotations",
            hint="--root is the folder with train_set and val_set, each with the folders images and annotations",
        )
        test = self.require("val_set/annotations", "valid_set/annotations", within=train.parents[1], depth=0)
        yield from parsed(self._pairs(train), functools.partial(self._sample, "train", "train"))
        yield from parsed(self._pairs(test), functools.partial(self._sample, "test", "val"))

    def _pairs(self, annotations: Path) -> Iterator[tuple[str, tuple[Path, Path]] | Damage]:
        """Each image and its label file; one without the other is Damage. Ids have gaps, so files are listed."""
        labels = {path.name[: -len(LABEL)]: path for path in files(annotations, LABEL)}
        alone = dict(labels)
        for image in image_files(self.require("images", within=annotations.parent, depth=0)):
            where = str(image.relative_to(self.folder))
            alone.pop(image.stem, None)
            if image.stem in labels:
                yield where, (image, labels[image.stem])
            else:
                yield Damage(where, f"no {annotations.name}/{image.stem}{LABEL}")
        for label in alone.values():
            yield Damage(str(label.relative_to(self.folder)), "no image has this id")

    def _sample(self, split: SplitName, prefix: str, pair: tuple[Path, Path]) -> Sample | None:
        image, label = pair
        self.account.use(label)
        try:
            with real(self.folder, label).open("rb") as file:
                expression = class_of(scalar(file.read(MAX_BYTES + 1)))
        except (OSError, ValueError) as error:
            raise about(label.name, error) from None
        if not expression:
            omit(self, image, "None, Uncertain or No-Face")
            return None
        return Sample(f"{prefix}/{image.stem}", image, split, expression)
