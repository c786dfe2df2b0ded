"""RAF-DB, basic: 15,339 faces with one of seven expressions."""

import functools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import below
from ferbench.readers.tables import face_box, float_in, parsed, read_lines
from ferbench_fer_datasets.omitted import leave_folder
from ferbench_fer_datasets.raf_db_reupload import NAMES, Reupload, class_of, is_reupload, split_of

LISTS = ("EmoLabel/list_patition_label.txt", "EmoLabel/list_partition_label.txt")
HINTS = {
    "aligned": "--root is the folder 'basic' of RAF-DB, or a copy with train and test whose images keep their names "
    "(train/4/train_00001_aligned.jpg)",
    "original": "--root is the folder 'basic' of RAF-DB; copies with a folder for each class have no original images",
}
OFFICIAL = {
    "train": dict(zip(NAMES.values(), (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
    "test": dict(zip(NAMES.values(), (329, 74, 160, 1185, 478, 162, 680), strict=True)),
}


class RafDb(LayoutReader):
    """The aligned faces of 100 px, as published or from a re-upload with one folder per class."""

    images: ClassVar[str] = "aligned"
    title: ClassVar[str] = "RAF-DB (basic, aligned)"
    labels: ClassVar[str] = "labels 1 to 7 of EmoLabel"

    @property
    def info(self) -> DatasetInfo:
        copy = self._copy
        rule = (
            copy.rule if copy else f"{self.labels}, images of Image/{self.images}; 'train' or 'test' begins each name"
        )
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
            rule=rule,
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        copy = self._copy
        return copy.samples() if copy else self._published()

    @cached_property
    def _copy(self) -> Reupload | None:
        """The re-upload below the root, if the published list is missing."""
        if self.images != "aligned" or self.root is None or not self.root.is_dir() or self.find(*LISTS):
            return None
        train = self.find("train", "Train")
        return Reupload(self, train.parent) if train and is_reupload(train) else None

    def _published(self) -> Iterator[Sample | Damage]:
        labels = self.require(*LISTS, hint=HINTS[self.images])
        base = labels.parent.parent
        images = self.require(
            f"Image/{self.images}", depth=0, hint=f"unpack Image/{self.images}.zip there", within=base
        )
        for name in HINTS.keys() - {self.images}:
            leave_folder(self, base / "Image" / name, f"the same faces; this dataset reads Image/{self.images}")
        place = labels.relative_to(self.folder)
        lines = ((f"{place}:{number}", line) for number, line in read_lines(self.folder, labels) if line.strip())
        return parsed(lines, functools.partial(self._sample, base, images))

    def _sample(self, base: Path, images: Path, line: str) -> Sample:
        name, *labels = line.split()  # some copies have tabs
        label = " ".join(labels)
        path = below(images, name)
        split = split_of(path.stem)
        return Sample(path.stem, self._image(path), split, class_of(label), box=self._box(base, path.stem))

    def _image(self, path: Path) -> Path:
        return path.with_stem(f"{path.stem}_aligned")

    def _box(self, base: Path, stem: str) -> tuple[float, float, float, float] | None:
        """The face box, in pixels of the original images; None for aligned images."""
        return None


class RafDbOriginal(RafDb):
    """The original images, cut to the face box of Annotation/boundingbox."""

    images: ClassVar[str] = "original"
    title: ClassVar[str] = "RAF-DB (basic, original images cut to the face box)"
    labels: ClassVar[str] = "labels 1 to 7 of EmoLabel, face boxes of Annotation/boundingbox"
    crop = 0.0

    def _image(self, path: Path) -> Path:
        return path

    def _box(self, base: Path, stem: str) -> tuple[float, float, float, float] | None:
        annotation = base / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt"
        self.account.use(annotation)
        try:
            text = " ".join(line for _, line in read_lines(self.folder, annotation))
        except DataError as error:
            raise ValueError(str(error)) from None
        numbers = [float_in(number) for number in text.split()]
        if len(numbers) != 4:
            raise ValueError(f"{annotation.name}: {len(numbers)} numbers instead of the 4 of a face box")
        return face_box(*numbers)
