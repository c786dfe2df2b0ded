"""What every dataset must keep. Without its folder only what it says of itself can be checked."""

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

DECODED = 20_000  # images at most
NO_FOLDER = Doubt("its images are yours to bring: name their folder with --root to check them")

CHECKS = Checks()


@dataclass(frozen=True)
class DatasetCase:
    """A dataset's class, and the folder of its images."""

    entry: Entry
    dataset: type[Dataset]
    root: Path | None

    @property
    def has_data(self) -> bool:
        """Whether there is something to read."""
        return self.root is not None or not (self.dataset.needs_root or self.dataset.needs_name)

    def opened(self) -> Dataset:
        """A new reader."""
        return open_reader(self.entry, self.root, self.entry.name)

    def read(self) -> list[Sample | Damage]:
        """One pass over everything."""
        return list(self.opened().samples())

    @cached_property
    def found(self) -> list[Sample | Damage]:
        """The first pass."""
        return self.read()

    @property
    def samples(self) -> list[Sample]:
        """The samples of the first pass."""
        return [sample for sample in self.found if isinstance(sample, Sample)]

    @property
    def info(self) -> DatasetInfo:
        """What it says of itself."""
        return self.opened().info


def case(entry: Entry, surroundings: Surroundings) -> DatasetCase:
    """The case of a registered dataset."""
    return DatasetCase(entry, entry.load(), surroundings.root)


@CHECKS.add(
    "says what it is",
    protects="`ferbench list datasets`, the data card, and the classes by which a cell is named",
    mend="subclass ferbench.contract.dataset.Dataset and fill in `info`, which needs no data: name, title, licence, "
    "family, classes (names in canonical order) and default_classes",
)
def info(case: DatasetCase) -> Found:
    assert isinstance(case.dataset, type) and issubclass(case.dataset, Dataset), "it does not subclass Dataset"
    try:
        info = case.info
    except DataError:
        if case.has_data:
            raise
        return NO_FOLDER  # a reader of anybody's images knows their classes from the folder alone
    # Whose licence somebody's own images have, their reader cannot know.
    for field in ("name", "title", "family", *(() if case.dataset.needs_name else ("licence",))):
        assert getattr(info, field), f"info.{field} is empty"
    for task, names in info.classes.items():
        order = [EIGHT_CLASSES.index(name) for name in names if name in EIGHT_CLASSES]
        assert len(set(names)) == len(names), f"classes['{task}'] names a class twice"
        assert order == sorted(order), (
            f"classes['{task}'] is {names}; the canonical order is {', '.join(EIGHT_CLASSES[i] for i in sorted(order))}"
        )
    assert not info.classes or info.default_classes in info.classes, (
        f"default_classes '{info.default_classes}' is none of the tasks {', '.join(info.classes)}"
    )
    strangers = sorted(set(info.native.values()) - {name for names in info.classes.values() for name in names})
    if strangers and info.classes:
        return Doubt(f"native names {', '.join(strangers)}, which no task has")
    return ", ".join(f"{task}: {len(names)} classes" for task, names in info.classes.items()) or "a pool"


@CHECKS.add(
    "refuses a folder that is not its own",
    protects="people who name the wrong folder: one line says what is missing, in place of an empty set or a traceback",
    mend="raise ferbench.errors.DataError that names the file that lacks and the layout that is wanted",
)
def other_folder(case: DatasetCase) -> Found:
    if not case.dataset.needs_root:
        return "ships its images"
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = list(open_reader(case.entry, Path(folder), case.entry.name).samples())
        except FerbenchError as refusal:
            return " ".join(str(refusal).replace(folder, "FOLDER").split())
    # A reader of anybody's images takes any folder; that it found none, `ferbench prepare` says.
    assert case.dataset.needs_name and not found, f"of an empty folder it makes {len(found)} samples and no error"
    return "none are found"


@CHECKS.add(
    "two passes give the same samples in the same order",
    protects="splits and cells: images are drawn by id, and a packed copy is reused while its source stays",
    mend="sort what the file system lists, and make ids of the layout's own names, never of time, hash() or counters "
    "over unsorted files",
)
def stable(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    for first, second in zip(case.found, case.read(), strict=True):
        assert first == second, f"the first pass gives {_name(first)}, the second {_name(second)} in its place"
    return f"{len(case.found)} samples"


@CHECKS.add(
    "ids are unique",
    protects="splits: two images of one id would be drawn, hashed and compared as one",
    mend="put the split or the folder into the id",
)
def unique_ids(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    twice = [name for name, count in Counter(sample.id for sample in case.samples).items() if count > 1]
    assert not twice, f"{len(twice)} ids stand for several samples, such as '{twice[0]}'"
    assert all(isinstance(sample.id, str) and sample.id for sample in case.samples), "an id is empty or no string"
    return f"{len(case.samples)} ids"


@CHECKS.add(
    "labels are the classes that it declares, all of them",
    protects="the number of classes that a net is built for, and class-balanced scores",
    mend="map the layout's codes to the names in info.classes, and declare no class without images",
)
def classes(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    declared = {name for names in case.info.classes.values() for name in names}
    used = {name for sample in case.samples for name in _labels(sample)}
    assert used <= declared or not declared, (
        f"labels {', '.join(sorted(used - declared))} are in no task of info.classes"
    )
    lacking = sorted(declared - {name for s in case.samples if s.split == "train" for name in _labels(s)})
    assert not lacking, f"no training image has the label {', '.join(lacking)}"
    return f"{len(used)} classes" if declared else "a pool"


@CHECKS.add(
    "has the splits that cells are made of",
    protects="cells: they draw labels from the training split and are scored on the test split",
    mend="give every sample one of the splits train, validation, test, unlabeled, as the publishers divide the set",
)
def splits(case: DatasetCase) -> Found:
    if not case.has_data:
        return NO_FOLDER
    counts = Counter(sample.split for sample in case.samples)
    strange = sorted(set(counts) - {"train", "validation", "test", "unlabeled"})
    assert not strange, f"split '{strange[0]}' is none of train, validation, test, unlabeled"
    text = ", ".join(f"{count} {split}" for split, count in counts.items())
    if not case.info.classes:
        assert counts["train"] + counts["unlabeled"], "a pool has no images of the splits train and unlabeled"
        return text
    assert counts["train"], "no image is of the split train"
    subjects = all(sample.subject for sample in case.samples)
    if not counts["test"]:
        return Doubt(f"{text}: no test split" + (", so it takes a protocol with folds of subjects" if subjects else ""))
    return text


@CHECKS.add(
    "every sample can be read",
    protects="`ferbench prepare`, which would stop there, and people who wait for it",
    mend="yield Damage(record, reason) for what gives no image, and keep paths below the root",
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
            f"sample '{sample.id}': the box {sample.box} is empty or lies outside the image of {width} x {height}"
        )


def _labels(sample: Sample) -> Sequence[str]:
    if sample.label is None:
        return ()
    return (sample.label,) if isinstance(sample.label, str) else tuple(sample.label)


def _name(found: Sample | Damage) -> str:
    return f"'{found.id}'" if isinstance(found, Sample) else str(found)
