"""FERPlus: ten people's votes on each image of FER2013, beside its CSV file or beside folders of images."""

import functools
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import EIGHT_CLASSES, SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import face_box, float_in, parsed, read_table
from ferbench.readers.text import quoted
from ferbench_fer_datasets.fer2013 import pgm, row_id, split_of
from ferbench_fer_datasets.ferplus_counts import OFFICIAL
from ferbench_fer_datasets.ferplus_rules import (
    ARGMAX,
    ARGMAX_EMOTIONS,
    COLUMNS,
    EMOTIONS,
    MAJORITY,
    MULTI_TARGET,
    PROBABILITY,
    Rule,
)

VOTES = "fer2013new.csv"
IMAGES = "fer2013.csv"
LIST = "FER2013Train/label.csv"

Fields = Mapping[str, str]


class FerPlus(LayoutReader):
    """The votes of fer2013new.csv on the images of fer2013.csv, row by row: the names in it are no row numbers."""

    layout: ClassVar[str] = "ferplus"
    rule: ClassVar[Rule] = MAJORITY
    file: ClassVar[str] = VOTES
    note: ClassVar[str] = ""
    source: ClassVar[str] = (
        f"joined to {IMAGES} by row order; PublicTest is validation, PrivateTest is test; ids are rows from 0"
    )

    @property
    def info(self) -> DatasetInfo:
        name = self._name(self.layout)
        return DatasetInfo(
            name=name,
            title=f"FERPlus ({self.rule.name}{self.note}; votes of {self.file})",
            licence="labels MIT (github.com/microsoft/FERPlus); images of FER2013, for research",
            classes={"8": EIGHT_CLASSES, "7": SEVEN_CLASSES},
            default_classes="8",
            family="ferplus",
            citation="Barsoum et al., ICMI 2016",
            native={str(column): name for column, name in enumerate(EMOTIONS)},
            rule=f"{self.rule.text}; votes of {self.file}, {self.source}; rows without an image's name are left out",
            official=OFFICIAL.get(name, {}),
        )

    def _name(self, layout: str) -> str:
        return layout if self.rule is MAJORITY else f"{layout}-{self.rule.name}"

    def samples(self) -> Iterator[Sample | Damage]:
        votes = self.require(
            VOTES,
            hint=f"it is in github.com/microsoft/FERPlus; --root holds it and {IMAGES}",
            others={LIST: f"'{self._name('ferplus-label-csv')}' reads it"},
        )
        images = self.require(IMAGES, hint=f"{VOTES} has votes alone, the images are in {IMAGES} of FER2013")
        return parsed(self._joined(votes, images), self._of_row)

    def _joined(self, votes: Path, images: Path) -> Iterator[tuple[str, tuple[int, Fields, Fields]] | Damage]:
        pairs = zip_longest(
            read_table(self.folder, votes, ("Usage", "Image name", *COLUMNS)),
            read_table(self.folder, images, ("pixels", "Usage")),
        )
        for number, (vote, image) in enumerate(pairs):
            if vote is None or image is None:
                raise DataError(
                    f"{images if image is None else votes} ends after {number} rows and the other file goes on; "
                    "rows are joined by their order alone, so copy both files again"
                )
            if isinstance(vote, Damage) or isinstance(image, Damage):
                yield from (part for part in (vote, image) if isinstance(part, Damage))
            else:
                yield f"{vote[0]} with {image[0]}", (number, vote[1], image[1])

    def _of_row(self, row: tuple[int, Fields, Fields]) -> Sample | None:
        number, votes, image = row
        if not votes["image name"].strip():
            return None
        split = split_of(votes["usage"])
        if split_of(image["usage"]) != split:
            raise ValueError(f"{votes['usage']} and {image['usage']}: these rows do not belong together")
        label = self.rule.label(_votes(votes))
        return Sample(row_id(number), pgm(image["pixels"]), split, label) if label else None


class FerPlusProbability(FerPlus):
    """Shares of the strongest classes."""

    rule = PROBABILITY


class FerPlusMultiTarget(FerPlus):
    """Shares of all classes with enough votes."""

    rule = MULTI_TARGET


class FerPlusArgmax(FerPlus):
    """The class with most votes."""

    rule = ARGMAX


class FerPlusArgmaxEmotions(FerPlus):
    """The emotion with most votes."""

    rule = ARGMAX_EMOTIONS


class FerPlusLabelCsv(FerPlus):
    """The votes of label.csv, which differ from those of fer2013new.csv, on the images beside it."""

    layout = "ferplus-label-csv"
    file = "label.csv"
    source = "whose folders FER2013Train, FER2013Valid and FER2013Test are train, validation and test"
    folders: ClassVar[Mapping[str, SplitName]] = {
        "FER2013Train": "train",
        "FER2013Valid": "validation",
        "FER2013Test": "test",
    }

    def samples(self) -> Iterator[Sample | Damage]:
        base = self.require(
            LIST,
            hint=f"--root holds the folders {', '.join(self.folders)}",
            others={VOTES: f"'{self._name('ferplus')}' reads it"},
        ).parents[1]
        for name, split in self.folders.items():
            rows = read_table(
                self.folder,
                self.require(f"{name}/label.csv", within=base, depth=0),
                ("Image name", "box", *COLUMNS),
                header=False,
                hint=f"a list without boxes has the votes of {VOTES}, which '{self._name('ferplus')}' reads",
            )
            yield from parsed(rows, functools.partial(self._of_image, base / name, split))

    def _of_image(self, folder: Path, split: SplitName, fields: Fields) -> Sample | None:
        if not fields["image name"].strip():
            return None
        path = below(folder, fields["image name"])
        label = self.rule.label(_votes(fields))
        return Sample(path.stem, path, split, label, box=_box(fields["box"])) if label else None


class FerPlusLabelCsvProbability(FerPlusLabelCsv):
    """Shares of the strongest classes."""

    rule = PROBABILITY


class FerPlusLabelCsvMultiTarget(FerPlusLabelCsv):
    """Shares of all classes with enough votes."""

    rule = MULTI_TARGET


class FerPlusLabelCsvArgmax(FerPlusLabelCsv):
    """The class with most votes."""

    rule = ARGMAX


class FerPlusLabelCsvArgmaxEmotions(FerPlusLabelCsv):
    """The emotion with most votes."""

    rule = ARGMAX_EMOTIONS


class FerPlusLeaf(FerPlusLabelCsv):
    """The images that LEAF trains and tests on: it has no validation split."""

    layout = "ferplus-leaf"
    note = ", as LEAF splits it"
    source = "whose folders FER2013Train and FER2013Valid are train, FER2013Test is test"
    folders = {"FER2013Train": "train", "FER2013Valid": "train", "FER2013Test": "test"}


def _votes(fields: Fields) -> list[int]:
    texts = [fields[column.lower()].strip() for column in COLUMNS]
    if not all(text.isdecimal() for text in texts):
        raise ValueError(f"votes {quoted(','.join(texts))} are no numbers")
    votes = [int(text) for text in texts]
    if not any(votes):
        raise ValueError("nobody has voted")
    return votes


def _box(text: str) -> tuple[float, float, float, float]:
    numbers = [float_in(number) for number in text.strip().strip("()").split(",")]
    if len(numbers) != 4:
        raise ValueError(f"{quoted(text)} is no face box")
    return face_box(*numbers)
