"""FERPlus: ten people's votes on each image of FER2013, with images from its CSV file or from folders."""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import EIGHT_CLASSES, SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below, image_files
from ferbench.readers.tables import face_box, float_in, parsed
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
from ferbench_fer_datasets.omitted import leave_folder, omit

VOTES = "fer2013new.csv"
IMAGES = "fer2013.csv"
LIST = "FER2013Train/label.csv"
FOLDERS: Mapping[str, SplitName] = {"FER2013Train": "train", "FER2013Valid": "validation", "FER2013Test": "test"}
MOST_TWICE = 4
"""Number of names that appear twice in fer2013new.csv."""
OWN_LABEL = "the label of FER2013; the votes are read instead"
NO_NAME = "no name, because the image has no face"
BESIDE = (
    f"joined to the images of {', '.join(FOLDERS)} (train, validation, test) by their names; images whose name stands "
    "twice in it are left out, as one has overwritten the other; ids are rows from 0"
)

Fields = Mapping[str, str]


class FerPlus(LayoutReader):
    """The votes of fer2013new.csv on the images of fer2013.csv, joined row by row: names are not row numbers.

    Without fer2013.csv, the votes are joined by name to the images in the folders that FERPlus's script writes.
    """

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
            rule=f"{self.rule.text}; votes of {self.file}, {self._source()}; rows without an image's name are left out",
            official=OFFICIAL.get(name, {}),
        )

    def _source(self) -> str:
        """A description of the source of the images, splits and ids."""
        here = self.root is not None and self.root.is_dir()
        return BESIDE if here and not self.find(IMAGES) and self._image_folders() else self.source

    def _name(self, layout: str) -> str:
        return layout if self.rule is MAJORITY else f"{layout}-{self.rule.name}"

    def samples(self) -> Iterator[Sample | Damage]:
        votes = self.require(VOTES, hint=f"get it from github.com/microsoft/FERPlus; --root contains it and {IMAGES}")
        images = self.find(IMAGES)
        if images:
            for folder in self._image_folders().values():
                leave_folder(self, folder, f"the same faces, which are read from {IMAGES}")
            return parsed(self._joined(votes, images), self._of_row)
        folders = self._image_folders()
        if not folders:
            raise DataError(
                f"{self.folder}: no {IMAGES} and no folder {next(iter(FOLDERS))} here or up to 2 folders below; "
                f"{VOTES} has only votes; the images are in {IMAGES} of FER2013"
            )
        return self._beside(votes, folders)

    def _joined(self, votes: Path, images: Path) -> Iterator[tuple[str, tuple[int, Fields, Fields]] | Damage]:
        pairs = zip_longest(
            self.table(votes, ("Usage", "Image name", *COLUMNS)),
            self.table(images, ("pixels", "Usage"), passed_over={"emotion": OWN_LABEL}),
        )
        for number, (vote, image) in enumerate(pairs):
            if vote is None or image is None:
                raise DataError(
                    f"{images if image is None else votes} ends after {number} rows, but the other file has more; "
                    "rows are joined only by their order, so copy both files again"
                )
            if isinstance(vote, Damage) or isinstance(image, Damage):
                yield from (part for part in (vote, image) if isinstance(part, Damage))
            else:
                yield f"{vote[0]} with {image[0]}", (number, vote[1], image[1])

    def _image_folders(self) -> dict[SplitName, Path]:
        """The folders to which FERPlus's own script writes images, by split; empty if there are none."""
        found = {split: self.find(name) for name, split in FOLDERS.items()}
        return {split: folder for split, folder in found.items() if folder}

    def _beside(self, votes: Path, folders: Mapping[SplitName, Path]) -> Iterator[Sample | Damage]:
        """The images of folders, each with the votes of its name; ids are rows of the votes, as with fer2013.csv."""
        rows = list(self.table(votes, ("Usage", "Image name", *COLUMNS)))
        named = Counter(_name_of(row[1]) for row in rows if not isinstance(row, Damage))
        if (twice := sum(n > 1 for name, n in named.items() if name)) > MOST_TWICE:
            raise DataError(f"{votes}: {twice} names appear twice, in FERPlus only {MOST_TWICE} do; copy it again")
        numbered: list[tuple[str, tuple[int, Fields]] | Damage] = [
            row if isinstance(row, Damage) else (row[0], (number, row[1]))
            for number, row in enumerate(rows)
            # The folder has only one of two images with the same name, and it is unknown which one.
            if isinstance(row, Damage) or named[_name_of(row[1])] == 1 or not _name_of(row[1])
        ]
        yield from parsed(numbered, functools.partial(self._of_name, folders))
        for folder in folders.values():
            for path in image_files(folder):
                if named[path.name] > 1:
                    omit(self, path, f"its name appears twice in {votes.name}")
                elif path.name not in named:
                    yield Damage(str(path.relative_to(self.folder)), f"{votes.name} has no votes for it")

    def _of_name(self, folders: Mapping[SplitName, Path], row: tuple[int, Fields]) -> Sample | None:
        number, votes = row
        split, name = split_of(votes["usage"]), _name_of(votes)
        if not name:
            self.account.ignore("row", row_id(number), NO_NAME)
            return None
        if split not in folders:
            raise ValueError(f"no folder for the images of {quoted(votes['usage'])}")
        path = below(folders[split], name)
        return self._labeled(row_id(number), path, split, votes)

    def _of_row(self, row: tuple[int, Fields, Fields]) -> Sample | None:
        number, votes, image = row
        if not _name_of(votes):
            self.account.ignore("row", row_id(number), NO_NAME)
            return None
        split = split_of(votes["usage"])
        if split_of(image["usage"]) != split:
            raise ValueError(f"{votes['usage']} and {image['usage']}: these rows do not belong together")
        return self._labeled(row_id(number), pgm(image["pixels"]), split, votes)

    def _labeled(
        self,
        name: str,
        image: Path | bytes,
        split: SplitName,
        votes: Fields,
        box: tuple[float, float, float, float] | None = None,
    ) -> Sample | None:
        """The sample of an image with these votes, None if the rule omits it."""
        if label := self.rule.label(_votes(votes)):
            return Sample(name, image, split, label, box=box)
        reason = f"no label by the rule {self.rule.name}"
        if isinstance(image, Path):
            omit(self, image, reason)
        else:
            self.account.ignore("row", name, reason)
        return None


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
    """The votes of label.csv, which differ from those of fer2013new.csv, on the images next to it."""

    layout = "ferplus-label-csv"
    file = "label.csv"
    source = "whose folders FER2013Train, FER2013Valid and FER2013Test are train, validation and test"
    folders: ClassVar[Mapping[str, SplitName]] = FOLDERS

    def _source(self) -> str:
        return self.source

    def samples(self) -> Iterator[Sample | Damage]:
        base = self.require(LIST, hint=f"--root is the folder with {', '.join(self.folders)}").parents[1]
        for name, split in self.folders.items():
            rows = self.table(
                self.require(f"{name}/label.csv", within=base, depth=0),
                ("Image name", "box", *COLUMNS),
                header=False,
                hint=f"a list without boxes has the votes of {VOTES}; put that file next to the folders and prepare "
                f"{self._name('ferplus')}",
            )
            yield from parsed(rows, functools.partial(self._of_image, base / name, split))

    def _of_image(self, folder: Path, split: SplitName, fields: Fields) -> Sample | None:
        if not _name_of(fields):
            self.account.ignore("row", folder.name, NO_NAME)
            return None
        path = below(folder, _name_of(fields))
        return self._labeled(path.stem, path, split, fields, _box(fields["box"]))


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


def _name_of(fields: Fields) -> str:
    """The name of the image in a row, empty for an image without a face."""
    return fields["image name"].strip()


def _votes(fields: Fields) -> list[int]:
    texts = [fields[column.lower()].strip() for column in COLUMNS]
    if not all(text.isdecimal() for text in texts):
        raise ValueError(f"votes {quoted(','.join(texts))} are not numbers")
    votes = [int(text) for text in texts]
    if not any(votes):
        raise ValueError("there are no votes")
    return votes


def _box(text: str) -> tuple[float, float, float, float]:
    numbers = [float_in(number) for number in text.strip().strip("()").split(",")]
    if len(numbers) != 4:
        raise ValueError(f"{quoted(text)} is not a face box")
    return face_box(*numbers)
