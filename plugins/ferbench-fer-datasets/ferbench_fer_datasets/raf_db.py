"""RAF-DB, basic: 15,339 faces with one of seven expressions."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_folders
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import face_box, float_in, number_in, parsed, read_lines
from ferbench.readers.text import quoted

NAMES = {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"}
SPLITS: tuple[SplitName, ...] = ("train", "test")
LISTS = ("EmoLabel/list_patition_label.txt", "EmoLabel/list_partition_label.txt")
REUPLOAD = "DATASET/train"
OFFICIAL = {
    "train": dict(zip(NAMES.values(), (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
    "test": dict(zip(NAMES.values(), (329, 74, 160, 1185, 478, 162, 680), strict=True)),
}

_STEM = re.compile("(train|test)_[0-9]{4,5}")


def class_of(number: str) -> str:
    """The class of a label, which counts from 1; raises ValueError for another one."""
    return NAMES[number_in(number, NAMES)]


def split_of(stem: str) -> SplitName:
    """The split that begins the name of an image; raises ValueError for a name of another form."""
    match = _STEM.fullmatch(stem)
    if not match:
        raise ValueError(f"{quoted(stem)} is not named as train_00001 or test_0001 is")
    return "train" if match[1] == "train" else "test"


class RafDb(LayoutReader):
    """The aligned faces of 100 px, as published or from a re-upload with one folder per class."""

    images: ClassVar[str] = "aligned"
    title: ClassVar[str] = "RAF-DB (basic, aligned)"
    labels: ClassVar[str] = "labels 1 to 7 of EmoLabel (in a re-upload, names of folders)"

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="raf-db" if self.images == "aligned" else f"raf-db-{self.images}",
            title=self.title,
            licence="non-commercial research and education, no redistribution (whdeng.cn/RAF/model1.html)",
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="raf-db",
            citation="Li et al., CVPR 2017; Li and Deng, IEEE TIP 2019",
            gated=True,
            native={str(code): name for code, name in NAMES.items()},
            rule=f"{self.labels}, images of Image/{self.images}; 'train' or 'test' begins each name",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        train = self.find(REUPLOAD)
        if train and not self.find(*LISTS):
            return self._reuploaded(train.parent)
        return self._published()

    def _reuploaded(self, base: Path) -> Iterator[Sample | Damage]:
        for split in SPLITS:
            images = class_folders(self.folder, self.require(split, within=base, depth=0), class_of)
            yield from parsed(images, functools.partial(_from_folder, split))

    def _published(self) -> Iterator[Sample | Damage]:
        labels = self.require(
            *LISTS,
            hint="--root is the folder 'basic' of RAF-DB",
            others={REUPLOAD: "re-uploads have aligned faces alone, which 'raf-db' reads"},
        )
        base = labels.parent.parent
        images = self.require(
            f"Image/{self.images}", depth=0, hint=f"unpack Image/{self.images}.zip there", within=base
        )
        place = labels.relative_to(self.folder)
        lines = ((f"{place}:{number}", line) for number, line in read_lines(self.folder, labels) if line.strip())
        return parsed(lines, functools.partial(self._sample, base, images))

    def _sample(self, base: Path, images: Path, line: str) -> Sample:
        name, _, label = line.strip().partition(" ")
        path = below(images, name)
        split = split_of(path.stem)
        return Sample(path.stem, self._image(path), split, class_of(label), box=self._box(base, path.stem))

    def _image(self, path: Path) -> Path:
        return path.with_stem(f"{path.stem}_aligned")

    def _box(self, base: Path, stem: str) -> tuple[float, float, float, float] | None:
        """Boxes are in pixels of the original images."""
        return None


class RafDbOriginal(RafDb):
    """The images as they were found, cut to the face box of Annotation/boundingbox."""

    images: ClassVar[str] = "original"
    title: ClassVar[str] = "RAF-DB (basic, original images cut to the face box)"
    labels: ClassVar[str] = "labels 1 to 7 of EmoLabel, face boxes of Annotation/boundingbox"
    crop = 0.0

    def samples(self) -> Iterator[Sample | Damage]:
        return self._published()

    def _image(self, path: Path) -> Path:
        return path

    def _box(self, base: Path, stem: str) -> tuple[float, float, float, float] | None:
        annotation = base / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt"
        try:
            text = " ".join(line for _, line in read_lines(self.folder, annotation))
        except DataError as error:
            raise ValueError(str(error)) from None
        numbers = [float_in(number) for number in text.split()]
        if len(numbers) != 4:
            raise ValueError(f"{annotation.name}: {len(numbers)} numbers are no face box")
        return face_box(*numbers)


def _from_folder(split: SplitName, image: tuple[Path, str]) -> Sample:
    path, expression = image
    stem = path.stem.removesuffix("_aligned")
    if split_of(stem) != split:
        raise ValueError(f"lies in '{split}'")
    return Sample(stem, path, split, expression)
