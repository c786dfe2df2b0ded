"""FER2013: 35,887 grey faces of 48 px with one of seven expressions, as a CSV file."""

from collections.abc import Iterator, Mapping

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.readers.layout import LayoutReader
from ferbench.readers.tables import number_in, parsed
from ferbench.readers.text import quoted

NAMES = {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"}
USAGES: dict[str, SplitName] = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
SIDE = 48

# Not from an official file; the sums agree with the competition's.
OFFICIAL = {
    "train": dict(zip(NAMES.values(), (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
    "validation": dict(zip(NAMES.values(), (467, 56, 496, 895, 653, 415, 607), strict=True)),
    "test": dict(zip(NAMES.values(), (491, 55, 528, 879, 594, 416, 626), strict=True)),
}

# Faster than int(), which matters for 83 million pixels, and does not accept 1_0.
_GREY = {str(value): value for value in range(256)}


def split_of(usage: str) -> SplitName:
    """The split of a value of the column `Usage`; raises ValueError for an unknown value."""
    if usage.strip() not in USAGES:
        raise ValueError(f"usage {quoted(usage)} must be one of {', '.join(USAGES)}")
    return USAGES[usage.strip()]


def pgm(pixels: str) -> bytes:
    """The column `pixels` as an image file (binary PGM); raises ValueError if it is not an image of 48 px."""
    try:
        grey = bytes([_GREY[pixel] for pixel in pixels.split()])
    except KeyError:
        raise ValueError("a pixel is not an integer from 0 to 255") from None
    if len(grey) != SIDE * SIDE:
        raise ValueError(f"{len(grey)} pixels instead of {SIDE * SIDE}")
    return b"P5 %d %d 255\n" % (SIDE, SIDE) + grey


def row_id(number: int) -> str:
    """The id of the image in a row, counted from 0: only the row distinguishes images with the same pixels."""
    return f"row{number:05d}"


class Fer2013(LayoutReader):
    """The rows of fer2013.csv, or of icml_face_data.csv, which has the same rows with other column names."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="fer2013",
            title="FER2013",
            licence="research; collected from the web, under the rules of Kaggle's competition",
            redistributable_labels=False,
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="fer2013",
            citation="Goodfellow et al., ICONIP 2013",
            native={str(code): name for code, name in NAMES.items()},
            rule="labels 0 to 6; Training is train, PublicTest is validation, PrivateTest is test; ids are rows from 0",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        hint = "both are in Kaggle's challenges-in-representation-learning-facial-expression-recognition-challenge"
        if not (table := self.find("fer2013.csv", "icml_face_data.csv")) and self.find("train.csv"):
            hint += "; train.csv has no splits and test.csv has no labels, so neither can be used instead"
        table = table or self.require("fer2013.csv", "icml_face_data.csv", hint=hint)
        rows = self.table(table, ("emotion", "pixels", "Usage"))
        numbered = (row if isinstance(row, Damage) else (row[0], (i, row[1])) for i, row in enumerate(rows))
        return parsed(numbered, _from_row)


def _from_row(row: tuple[int, Mapping[str, str]]) -> Sample:
    number, fields = row
    label = NAMES[number_in(fields["emotion"], NAMES)]
    return Sample(row_id(number), pgm(fields["pixels"]), split_of(fields["usage"]), label)
