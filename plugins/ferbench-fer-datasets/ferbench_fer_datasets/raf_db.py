"""RAF-DB, basic: 15,339 faces with one of seven expressions."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, Dataset, DatasetInfo, Sample, Split
from ferbench.contract.layout import below, number_in, read_lines, require
from ferbench.errors import DataError

NAMES = {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"}
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
LISTS = ("EmoLabel/list_patition_label.txt", "EmoLabel/list_partition_label.txt")
OFFICIAL = {
    "train": dict(zip(NAMES.values(), (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
    "test": dict(zip(NAMES.values(), (329, 74, 160, 1185, 478, 162, 680), strict=True)),
}


class RafDb(Dataset):
    """The aligned faces of 100 px; a label is in the list, a split in the name of the image."""

    images: ClassVar[str] = "aligned"
    title: ClassVar[str] = "RAF-DB (basic, aligned)"

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
            rule=f"labels 1 to 7 of EmoLabel, images of Image/{self.images}; 'train' or 'test' begins each name",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        labels = require(self.folder, *LISTS, hint="--root is the folder 'basic' of RAF-DB")
        base = labels.parent.parent
        images = require(base, f"Image/{self.images}", depth=0, hint=f"unpack Image/{self.images}.zip there")
        for number, line in read_lines(self.folder, labels):
            if line.strip():
                try:
                    yield self._sample(base, images, line)
                except ValueError as error:
                    yield Damage(f"{labels.relative_to(self.folder)}:{number}", str(error))

    def _sample(self, base: Path, images: Path, line: str) -> Sample:
        name, _, label = line.strip().partition(" ")
        split = SPLITS.get(name.partition("_")[0])
        if split is None:
            raise ValueError(f"'{name}' begins with neither train_ nor test_")
        path = below(images, name)
        expression = NAMES[number_in(label.strip(), NAMES)]
        return Sample(path.stem, self._image(path), split, expression, box=self._box(base, path))

    def _image(self, path: Path) -> Path:
        return path.with_stem(f"{path.stem}_aligned")

    def _box(self, base: Path, path: Path) -> tuple[float, float, float, float] | None:
        """Boxes are in pixels of the original images."""
        return None


class RafDbOriginal(RafDb):
    """The images as they were found, cut to the face box of Annotation/boundingbox."""

    images: ClassVar[str] = "original"
    title: ClassVar[str] = "RAF-DB (basic, original images cut to the face box)"
    crop = 0.0

    def _image(self, path: Path) -> Path:
        return path

    def _box(self, base: Path, path: Path) -> tuple[float, float, float, float] | None:
        annotation = base / "Annotation" / "boundingbox" / f"{path.stem}_boundingbox.txt"
        try:
            text = " ".join(line for _, line in read_lines(self.folder, annotation))
            x0, y0, x1, y1 = map(float, text.split())
        except (DataError, ValueError) as error:
            raise ValueError(f"no face box: {error}") from None
        return x0, y0, x1, y1
