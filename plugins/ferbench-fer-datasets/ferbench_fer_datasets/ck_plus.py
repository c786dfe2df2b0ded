"""CK+: posed expressions of 123 people, each a sequence from the neutral face to the peak."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import EIGHT_CLASSES, SEVEN_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.damage import damage_of
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import files, image_files, subfolders
from ferbench.readers.tables import number_in, read_lines
from ferbench_fer_datasets.omitted import leave_folder, leave_label

# The list of codes also has 0 for neutral, but no sequence uses it.
NAMES = {1: "anger", 2: "contempt", 3: "disgust", 4: "fear", 5: "happiness", 6: "sadness", 7: "surprise"}
EXPRESSIONS = tuple(name for name in EIGHT_CLASSES if name != "neutral")
PEAK_FRAMES = 3
LABEL_SUFFIX = "_emotion.txt"
# Numbers of labeled sequences: the sum is official, the single numbers are not verified.
SEQUENCES = dict(zip(NAMES.values(), (45, 18, 59, 25, 69, 28, 83), strict=True))


class CkPlus(LayoutReader):
    """The last three frames of each labeled sequence."""

    first_is_neutral: ClassVar[bool] = False

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="ck-plus",
            title="CK+ (last three frames of each labeled sequence)",
            licence="non-commercial research, by signed agreement (jeffcohn.net)",
            classes={"7": EXPRESSIONS, "6": EXPRESSIONS[:-1]},
            default_classes="7",
            family="ck-plus",
            citation="Lucey et al., CVPR Workshops 2010",
            gated=True,
            native={str(code): name for code, name in NAMES.items()},
            rule="the last three frames of a sequence have the expression of its label file, a sequence without one is "
            "left out; 7 classes have contempt and no neutral, 6 have neither; no official split, folds are by subject",
            official={"train": {name: PEAK_FRAMES * n for name, n in SEQUENCES.items()}},
        )

    def samples(self) -> Iterator[Sample | Damage]:
        hint = "unpack the images and Emotion_labels.zip into --root"
        images = self.require("cohn-kanade-images", hint=hint)
        labels = self.require("Emotion", "Emotion_labels/Emotion", "Emotion_labels", hint=hint)
        leave_folder(self, images, "a frame that is not used, or that belongs to a sequence without a label")
        for subject in subfolders(labels):
            for sequence in subfolders(subject):
                for path in files(sequence, ""):  # empty if no emotion was coded
                    if not path.name.endswith(LABEL_SUFFIX):
                        leave_label(self, path, f"S005_001_00000011{LABEL_SUFFIX}")
                        continue
                    try:
                        yield from self._sequence(images / subject.name / sequence.name, path)
                    except (DataError, OSError, ValueError) as error:
                        yield damage_of(str(path.relative_to(self.folder)), error)

    def _sequence(self, images: Path, labels: Path) -> list[Sample]:
        """The samples of a sequence; its label file has the name of its peak frame."""
        expression = self._expression(labels)
        peak = labels.name.removesuffix(LABEL_SUFFIX)
        sequence = peak.rpartition("_")[0]
        frames = [path for path in image_files(images) if f"{sequence}_" < path.stem <= peak]
        if not frames or frames[-1].stem != peak:
            raise ValueError(f"the peak frame {peak} is missing among the images")
        if len(frames) < PEAK_FRAMES + self.first_is_neutral:
            raise ValueError(f"only {len(frames)} frames up to the peak")
        first, last = (int(path.stem.rpartition("_")[2]) for path in (frames[-PEAK_FRAMES], frames[-1]))
        if last - first >= PEAK_FRAMES:
            raise ValueError(f"a frame just before the peak {peak} is missing among the images")
        chosen = [(path, expression) for path in frames[-PEAK_FRAMES:]]
        if self.first_is_neutral:
            chosen.insert(0, (frames[0], "neutral"))
        subject = sequence.partition("_")[0]
        return [Sample(path.stem, path, "train", name, subject=subject, video=sequence) for path, name in chosen]

    def _expression(self, labels: Path) -> str:
        self.account.use(labels)
        text = " ".join(line for _, line in read_lines(self.folder, labels))
        return NAMES[number_in(f"{float(text):g}", NAMES)]  # written as 3.0000000e+00


class CkPlusNeutral(CkPlus):
    """The last three frames of each labeled sequence, and its first frame as neutral."""

    first_is_neutral = True

    @property
    def info(self) -> DatasetInfo:
        peaks = super().info
        return replace(
            peaks,
            name="ck-plus-neutral",
            title="CK+ (last three frames of each labeled sequence, and the first as neutral)",
            classes={"8": EIGHT_CLASSES, "7": SEVEN_CLASSES},
            default_classes="8",
            native={str(code): name for code, name in NAMES.items()},
            rule="the last three frames of a sequence have the expression of its label file, the first is neutral, a "
            "sequence without one is left out; 7 classes are without contempt; no official split, folds are by subject",
            official={"train": {**peaks.official["train"], "neutral": sum(SEQUENCES.values())}},
        )
