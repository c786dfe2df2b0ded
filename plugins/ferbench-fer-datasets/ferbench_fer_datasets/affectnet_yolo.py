"""AffectNet as users of Kaggle share it for YOLO: a text file for each image, and class names in data.yaml."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from ferbench.contract.dataset import Damage, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import files, image_files, is_inside
from ferbench.readers.tables import number_in, parsed, read_lines
from ferbench_fer_datasets.affectnet import SHARED

NAMES = ("data.yaml", "data.yml", "dataset.yaml")
SPLITS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("valid", "val", "validation"),
    "test": ("test",),
}
DERIVED = (
    "a re-upload, resized and split by whoever made it, so it is not AffectNet: numbers on it are comparable only with "
    "those on the same copy"
)
MAX_LINES, MAX_LINE = 1000, 1000
"""Most lines of a data.yaml that are read, and most characters of each."""

_LISTED = re.compile(r"names\s*:\s*\[(.*)\]\s*(?:#.*)?")
_ITEM = re.compile(r"""\s*(?:-|(\d+)\s*:)\s*['"]?([^'"#]+?)['"]?\s*(?:#.*)?""")


class AffectNetYolo(LayoutReader):
    """`train/images` with `train/labels`, or `images/train` with `labels/train`; each line begins with the class."""

    @property
    def info(self) -> DatasetInfo:
        folders = self._folders if self.root is not None and self.root.is_dir() else {}
        only = "" if "test" in folders or "validation" not in folders else "; its validation folder is the test split"
        return replace(
            SHARED,
            name="affectnet-yolo",
            title="AffectNet (re-upload in YOLO's layout)",
            rule=f"{DERIVED}; labels are numbers in the order of the names in data.yaml; boxes are not read{only}",
        )

    def samples(self) -> Iterator[Sample | Damage]:
        path = self.require(*NAMES, hint="it has the class names, without which the class numbers have no meaning")
        names = class_names(self.folder, path)
        folders = dict(self._folders)
        if "train" not in folders:
            raise DataError(f"{path.parent}: no folder train/images or images/train next to {path.name}; copy it there")
        if "test" not in folders and "validation" in folders:
            folders["test"] = folders.pop("validation")
        for split, (images, labels) in folders.items():
            yield from parsed(self._pairs(images, labels), functools.partial(self._sample, path.parent, split, names))

    @cached_property
    def _folders(self) -> Mapping[SplitName, tuple[Path, Path]]:
        """The folders of images and of labels of each split."""
        path = self.find(*NAMES)
        if path is None:
            return {}
        found: dict[SplitName, tuple[Path, Path]] = {}
        for split, names in SPLITS.items():
            places = [*(f"{name}/images" for name in names), *(f"images/{name}" for name in names)]
            images = self.find(*places, within=path.parent, depth=0)
            if images:
                labels = images.relative_to(path.parent).as_posix().replace("images", "labels")
                found[split] = images, path.parent / labels
        return found

    def _pairs(self, images: Path, labels: Path) -> Iterator[tuple[str, tuple[Path, Path]] | Damage]:
        """Each image and its label file; one without the other is Damage."""
        beside = {path.stem: path for path in files(labels, ".txt")} if is_inside(self.folder, labels) else {}
        for image in image_files(images):
            where = str(image.relative_to(self.folder))
            if label := beside.pop(image.stem, None):
                yield where, (image, label)
            else:
                yield Damage(where, f"no {labels.name}/{image.stem}.txt")
        for label in beside.values():
            yield Damage(str(label.relative_to(self.folder)), "no image has this name")

    def _sample(self, base: Path, split: SplitName, names: Mapping[int, str], pair: tuple[Path, Path]) -> Sample:
        image, label = pair
        self.account.use(label)
        try:
            codes = {line.split()[0] for _, line in read_lines(self.folder, label) if line.strip()}
        except DataError as error:
            raise ValueError(str(error)) from None
        if len(codes) != 1:
            raise ValueError(f"{label.name} has {len(codes)} classes, but an image must have one")
        return Sample(image.relative_to(base).as_posix(), image, split, names[number_in(codes.pop(), names)])


def class_names(root: Path, path: Path) -> dict[int, str]:
    """The classes of a data.yaml by number; raises DataError if it has none, or if a name is not an expression."""
    lines = [line[:MAX_LINE] for _, line in islice(read_lines(root, path), MAX_LINES)]
    start = next((number for number, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    found: dict[int, str] = {}
    try:
        if start is not None and (listed := _LISTED.fullmatch(" ".join(lines[start:]).partition("]")[0] + "]")):
            found = dict(enumerate(class_name(name.strip(" '\"")) for name in listed[1].split(",") if name.strip()))
        elif start is not None:
            for line in lines[start + 1 :]:
                if not (item := _ITEM.fullmatch(line)):
                    break
                found[int(item[1] or len(found))] = class_name(item[2])
    except ValueError as error:
        raise DataError(f"{path}: {error}; write the names of expressions there") from None
    if not found:
        raise DataError(f"{path}: no class names; write them there in order, such as names: [anger, disgust]")
    return found
