"""SFEW 2.0: aligned faces from films, with one of seven expressions."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ferbench.contract.dataset import SEVEN_CLASSES, Damage, DatasetInfo, Sample, SplitName
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import image_files, subfolders
from ferbench_fer_datasets.omitted import leave_folder

NAMES = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
FOLDERS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("Train/Train_Aligned_Faces", "Train_Aligned_Faces"),
    "test": ("Val/Val_Aligned_Faces_new", "Val/Val_Aligned_Faces", "Val_Aligned_Faces_new", "Val_Aligned_Faces"),
}
# Numbers of frames; the aligned archives have fewer. The sums are official, the single numbers are not verified.
OFFICIAL = {
    "train": dict(zip(NAMES.values(), (178, 66, 98, 198, 150, 172, 96), strict=True)),
    "test": dict(zip(NAMES.values(), (77, 23, 47, 73, 86, 73, 57), strict=True)),
}


class Sfew(LayoutReader):
    """Labels are the names of folders; Val is the test split because the labels of Test are private."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="sfew",
            title="SFEW 2.0 (aligned faces)",
            licence="research, by agreement with the Australian National University (cs.anu.edu.au/few)",
            classes={"7": SEVEN_CLASSES},
            default_classes="7",
            family="sfew",
            citation="Dhall et al., ICCV Workshops 2011; Dhall et al., ICMI 2015",
            gated=True,
            native=NAMES,
            rule="labels are the names of the class folders; Val is the test set, as the labels of Test are private",
            official=OFFICIAL,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        hint = "unpack Train_Aligned_Faces.zip and Val_Aligned_Faces_new.zip into --root"
        if test := self.find("Test", "Test_Aligned_Faces"):
            leave_folder(self, test, "the test set, whose labels are private")
        for split, names in FOLDERS.items():
            faces = self.require(*names, hint=hint)
            # If an archive was unpacked into a folder with its name, the faces are one level deeper.
            yield from self._split(split, self.require("Angry", "angry", hint=hint, within=faces).parent)

    def _split(self, split: SplitName, faces: Path) -> Iterator[Sample | Damage]:
        folders = subfolders(faces)
        for folder in folders:
            label = NAMES.get(folder.name.lower())
            if label is None:
                yield Damage(str(folder.relative_to(self.folder)), f"is not a class folder ({', '.join(NAMES)})")
                continue
            for path in image_files(folder):
                yield Sample(f"{split}/{path.stem}", path, split, label)
        for missing in sorted(NAMES.keys() - {folder.name.lower() for folder in folders}):
            yield Damage(str((faces / missing).relative_to(self.folder)), "this class folder is missing")
