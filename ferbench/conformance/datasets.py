"""Checks for datasets. Without a folder of images, only the declared information can be checked."""

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from ferbench.conformance.framework import Checks, Doubt, Found
from ferbench.conformance.surroundings import Surroundings
from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Dataset, DatasetInfo, Sample
from ferbench.data.prepare.registered_copies import open_reader
from ferbench.discovery.registry import Entry
from ferbench.errors import DataError, FerbenchError

DECODED = 20_000  # largest number of decoded images
NO_FOLDER = Doubt("you must provide its images; name their folder with --root to check them")

CHECKS = Checks()


@dataclass(frozen=True)
class DatasetCase:
    """The class of a dataset, and the folder of its images."""

    entry: Entry
    dataset: type[Dataset]
    root: Path | None

    @property
    def has_data(self) -> bool:
        """Whether there are images to read."""
        return self.root is not None or not (self.dataset.needs_root or self.dataset.needs_name)

    def opened(self) -> Dataset:
        """Return a new reader."""
        return open_reader(self.entry, self.root, self.entry.name)

    def read(self) -> list[Sample | Damage]:
        """Make one pass over all entries."""
        return list(self.opened().samples())

    @cached_property
    def found(self) -> list[Sample | Damage]:
        """The result of the first pass."""
        return self.read()

    @property
    def samples(self) -> list[Sample]:
        """The samples of the first pass."""
        return [sample for sample in self.found if isinstance(sample, Sample)]

    @property
    def info(self) -> DatasetInfo:
        """The declared information."""
        return self.opened().info


def case(entry: Entry, surroundings: Surroundings) -> DatasetCase:
    """Return the case of a registered dataset."""
    return DatasetCase(entry, entry.load(), surroundings.root)


@CHECKS.add(
    "declares its information",
    protects="`ferbench list datasets`, the data card, and the class sets of cells",
    mend="subclass ferbench.contract.dataset.Dataset and implement `info`, which needs no data: name, title, licence, "
    "family, classes (names in canonical order) and default_classes",
)
def info(case: DatasetCase) -> Found:
    assert isinstance(case.dataset, type) and issubclass(case.dataset, Dataset), "it does not subclass Dataset"
    try:
        info = case.info
    except DataError:
        if case.has_data:
            raise
        return NO_FOLDER  # a reader for users' own images knows their classes only from the folder
    # Such a reader does not know the licence of the images.
    for field in ("name", "title", "family", *(() if case.dataset.needs_name else ("licence",))):
        assert getattr(info, field), f"info.{field} is empty"
    for task, names in info.classes.items():
        order = [EIGHT_CLASSES.index(name) for name in names if name in EIGHT_CLASSES]
        assert len(set(names)) == len(names), f"classes['{task}'] names a class twice"
        assert order == sorted(order), (
            f"classes['{task}'] is {names}, but the canonical order is "
            f"{', '.join(EIGHT_CLASSES[i] for i in sorted(order))}"
        )
    assert not info.classes or info.default_classes in info.classes, (
        f"default_classes '{info.default_classes}' must be one of the tasks {', '.join(info.classes)}"
    )
    strangers = sorted(set(info.native.values()) - {name for names in info.classes.values() for name in names})
    if strangers and info.classes:
        return Doubt(f"no task has the native names {', '.join(strangers)}")
    return ", ".join(f"{task}: {len(names)} classes" for task, names in info.classes.items()) or "a pool"


@CHECKS.add(
    "refuses a folder that is not its own",
    protects="people who name a wrong folder: they need one line about what is missing, no empty set or traceback",
    mend="raise a ferbench.errors.DataError that names the missing file and the expected layout",
)
def other_folder(case: DatasetCase) -> Found:
    if not case.dataset.needs_root:
        return "it ships its images"
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = list(open_reader(case.entry, Path(folder), case.entry.name).samples())
        except FerbenchError as refusal:
            return " ".join(str(refusal).replace(folder, "FOLDER").split())
    # A reader for users' own images accepts any folder; `ferbench prepare` then reports that there are no images.
    assert case.dataset.needs_name and not found, f"for an empty folder it yields {len(found)} samples and no error"
    return "it finds no images"


@CHECKS.add(
    "two passes give the same samples in the same order",
    protects="splits and cells: images are drawn by id, and a packed copy is reused until its source changes",
    mend="sort the entries of the file system, and make ids from names in the layout, never from time, hash() or "
    "counters over unsorted files",
)
def stable(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    for first, second in zip(case.found, case.read(), strict=True):
        assert first == second, f"the first pass yields {_name(first)}, but the second pass {_name(second)} instead"
    return f"{len(case.found)} samples"


@CHECKS.add(
    "ids are unique",
    protects="splits: two images with the same id would be drawn, hashed and compared as one",
    mend="put the split or the folder into the id",
)
def unique_ids(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    twice = [name for name, count in Counter(sample.id for sample in case.samples).items() if count > 1]
    assert not twice, f"{len(twice)} ids belong to several samples, such as '{twice[0]}'"
    assert all(isinstance(sample.id, str) and sample.id for sample in case.samples), "an id is empty or not a string"
    return f"{len(case.samples)} ids"


@CHECKS.add(
    "labels are exactly the declared classes",
    protects="the number of outputs of a net, and class-balanced scores",
    mend="map the layout's codes to the names in info.classes, and declare no class without images",
)
def classes(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    declared = {name for names in case.info.classes.values() for name in names}
    used = {name for sample in case.samples for name in _labels(sample)}
    assert used <= declared or not declared, (
        f"no task of info.classes has the labels {', '.join(sorted(used - declared))}"
    )
    lacking = sorted(declared - {name for s in case.samples if s.split == "train" for name in _labels(s)})
    assert not lacking, f"no training image has the label {', '.join(lacking)}"
    return f"{len(used)} classes" if declared else "a pool"


@CHECKS.add(
    "has the splits that cells need",
    protects="cells: they draw labels from the training split and are scored on the test split",
    mend="give every sample one of the splits train, validation, test, unlabeled, following the publishers' division",
)
def splits(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    counts = Counter(sample.split for sample in case.samples)
    strange = sorted(set(counts) - {"train", "validation", "test", "unlabeled"})
    assert not strange, f"split '{strange[0]}' must be one of train, validation, test, unlabeled"
    text = ", ".join(f"{count} {split}" for split, count in counts.items())
    if not case.info.classes:
        assert counts["train"] + counts["unlabeled"], "the pool has no images in the splits train and unlabeled"
        return text
    assert counts["train"], "the split train has no images"
    subjects = all(sample.subject for sample in case.samples)
    if not counts["test"]:
        return Doubt(f"{text}: no test split" + (", so it needs a protocol with folds of subjects" if subjects else ""))
    return text


@CHECKS.add(
    "every sample can be read",
    protects="`ferbench prepare`, which would stop at this sample, and people who wait for it",
    mend="yield Damage(record, reason) for an entry without an image, and keep paths below the root",
)
def readable(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    damage = [str(found) for found in case.found if isinstance(found, Damage)]
    looked = case.samples[:: max(1, -(-len(case.samples) // DECODED))]
    for sample in looked:
        _decode(sample, case.root)
    if damage:
        return Doubt(f"{len(damage)} entries are damaged, such as {damage[0]}")
    return f"{len(looked)} of {len(case.samples)} images decoded"


def _decode(sample: Sample, root: Path | None) -> None:
    image = sample.image
    if isinstance(image, Path) and root is not None:
        assert image.resolve().is_relative_to(root.resolve()), f"sample '{sample.id}': {image} is not below {root}"
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            opened.load()
            width, height = opened.size
    except OSError as error:
        raise AssertionError(f"sample '{sample.id}' cannot be decoded: {error}") from None
    if sample.box is not None:
        x0, y0, x1, y1 = sample.box
        assert x0 < x1 and y0 < y1 and x0 < width and y0 < height, (
            f"sample '{sample.id}': the box {sample.box} is empty or outside the image of {width} x {height}"
        )


def _labels(sample: Sample) -> Sequence[str]:
    if sample.label is None:
        return ()
    return (sample.label,) if isinstance(sample.label, str) else tuple(sample.label)


def _name(found: Sample | Damage) -> str:
    return f"'{found.id}'" if isinstance(found, Sample) else str(found)
