"""Aff-Wild2, EXPR: videos whose frames have one of eight expressions, as the ABAW challenges use them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName, tree_digest
from ferbench.errors import DataError
from ferbench.readers.damage import damage_of
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import files, holds_images, image_files, inside, subfolders
from ferbench.readers.tables import number_in, read_lines
from ferbench_fer_datasets.omitted import leave_folder, leave_label

NAMES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
HEADERS = (NAMES, NAMES[:-1])
"""Headers of the challenges since 2022, and of those of 2020 and 2021, which had no `other`."""
NOT_ANNOTATED = -1

CHALLENGES = ("EXPR_Classification_Challenge", "EXPR_Recognition_Challenge", "EXPR_Set")
ENDING = ".txt"
SETS: Mapping[SplitName, tuple[str, ...]] = {"train": ("Train_Set", "Training_Set"), "test": ("Validation_Set",)}
ALIGNED, LATER = "cropped_aligned", "cropped_aligned_new_50_vids"
# The usable frames that authors report for the challenges of 2022 and 2024.
OFFICIAL = {
    "train": dict(zip(NAMES, (177198, 16573, 10771, 9080, 95463, 78751, 31615, 165866), strict=True)),
    "test": {"all": 280532},
}


class AffWild2(LayoutReader):
    """Line i after the header of an annotation is the label of frame i; frames without a found face have no image."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="aff-wild2",
            title="Aff-Wild2, EXPR (cropped and aligned frames)",
            licence="non-commercial research, by agreement that a permanent academic signs (ibug.doc.ic.ac.uk)",
            classes={"8": (*SEVEN_CLASSES, "other"), "7": SEVEN_CLASSES},
            default_classes="8",
            family="aff-wild2",
            citation="Kollias and Zafeiriou, BMVC 2019; Kollias, CVPR Workshops 2022",
            gated=True,
            native={str(code): name for code, name in enumerate(NAMES)},
            rule="a frame has the label of its line in Train_Set (training) or Validation_Set (test); -1 and frames "
            "without an image in cropped_aligned are left out; 8 classes are with 'other', which is not contempt",
            official=OFFICIAL,
            rank_groups="video",
        )

    def samples(self) -> Iterator[Sample | Damage]:
        annotations, crops = self._annotations(), self._crops()
        folders = {split: self.require(*names, within=annotations, depth=0) for split, names in SETS.items()}
        for crop in crops:
            leave_folder(self, crop, "a frame without an expression in Train_Set and Validation_Set")
        for split, folder in folders.items():
            for path in self._videos(folder):
                try:
                    yield from self._video(split, path, crops)
                except (DataError, OSError, ValueError) as error:
                    yield damage_of(str(path.relative_to(self.folder)), error)

    def _videos(self, folder: Path) -> list[Path]:
        """The annotation files of a set; raises DataError if there are none."""
        there = files(folder, "")
        for path in there:
            if not path.name.endswith(ENDING):
                leave_label(self, path, f"video1{ENDING}")
        if not (found := [path for path in there if path.name.endswith(ENDING)]):
            raise DataError(f"{folder}: no annotation of a video, such as video1{ENDING}; unpack the annotations there")
        return found

    def source_digest(self) -> str:
        """Digest of the annotations, and of names and times of the folders of frames: there are millions of frames."""
        folders = [(folder.name, folder.stat().st_mtime_ns) for crop in self._crops() for folder in subfolders(crop)]
        return hashlib.sha256(json.dumps([tree_digest(self._annotations()), folders]).encode()).hexdigest()

    def _annotations(self) -> Path:
        return self.require_one(*CHALLENGES, hint="unpack the annotations of a challenge into --root")

    def _crops(self) -> list[Path]:
        """The folders that contain a folder of frames for each video; the second one was published later."""
        hint = "unpack the cropped and aligned frames into --root"
        first = self.require(f"{ALIGNED}/{ALIGNED}", ALIGNED, hint=hint)
        second = self.find(f"{LATER}/{LATER}", LATER)
        return [first, second] if second else [first]

    def _video(self, split: SplitName, annotation: Path, crops: list[Path]) -> Iterator[Sample | Damage]:
        where = str(annotation.relative_to(self.folder))
        folder = next((crop / annotation.stem for crop in crops if (crop / annotation.stem).is_dir()), None)
        if folder is None:
            yield Damage(where, f"there are no frames of {annotation.stem} in {' or '.join(map(str, crops))}")
            return
        inside(self.folder, folder)  # a link that leads out of the root must not even show names of files
        for deeper in filter(holds_images, subfolders(folder)):
            yield Damage(str(deeper.relative_to(self.folder)), "its frames are not read; move them up")
        self.account.use(annotation, "annotation")
        lines = read_lines(self.folder, annotation)
        try:
            names = _header(next(lines, (1, ""))[1])
        except ValueError as error:
            yield Damage(f"{where}:1", str(error))
            return
        images = {path.stem: path for path in image_files(folder)}  # one listing is faster than asking for each frame
        labeled, found = 0, 0
        for number, label in _labels(lines, names):
            if isinstance(label, ValueError):
                yield damage_of(f"{where}:{number}", label)
                continue
            labeled += 1
            if image := images.get(f"{number - 1:05d}"):
                found += 1
                yield _frame(split, image, annotation.stem, label)
        if labeled and not found:
            yield Damage(where, f"none of its {labeled} labeled frames are in {folder}")


def _labels(lines: Iterator[tuple[int, str]], names: tuple[str, ...]) -> Iterator[tuple[int, str | ValueError]]:
    """The annotated lines, each with its class, or with the error if the label is invalid."""
    for number, line in lines:
        if line.strip():
            try:
                label = number_in(line, range(NOT_ANNOTATED, len(names)))
            except ValueError as error:
                yield number, error
            else:
                if label != NOT_ANNOTATED:
                    yield number, names[label]


def _frame(split: SplitName, path: Path, track: str, label: str) -> Sample:
    """The sample of a frame; tracks of two people in one video differ by a suffix, which is removed here."""
    video = track.removesuffix("_left").removesuffix("_right")
    return Sample(f"{track}/{path.stem}", path, split, label, video=video)


def _header(line: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in line.split(","))
    if names not in HEADERS:
        raise ValueError(f"the header is '{line[:200]}'; it must be {','.join(NAMES)}, or the same without other")
    return names
