"""Damaged and hostile copies of every look-alike: errors that say where, the rest as it was, nothing from outside."""

import hashlib
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare import stream_index
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.prepare.writer import read_samples
from ferbench.errors import FerbenchError
from ferbench.readers.paths import ImageFiles
from ferbench.readers.streams import StreamedDataset

from fer_lookalikes import MODULES
from fer_lookalikes.damaging import ARCHIVES, IMAGES, SECRET, SECRET_SHADE, SECRET_SIZE, Tree, plant
from fer_lookalikes.expected import grey_image, open_set

TREES = 400
"""Of all modules together; each is damaged in one to four ways, so there are a thousand."""
SECONDS = 30
"""For one tree, on the slowest machine."""
SIZE = 8
SECRETS = {hashlib.sha256(grey_image(SECRET_SHADE, kind, SECRET_SIZE)).hexdigest() for kind in ("JPEG", "PNG", "TIFF")}

Known = dict[str, tuple[Sample, Any]]
"""By id a sample of the undamaged tree, and what a reader must still give of it."""


@pytest.fixture(autouse=True)
def in_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stream_index, "worker_count", lambda: 1)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))


class OverTime(BaseException):
    """Not a TimeoutError, which is an OSError that a reader would take for damage."""


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise OverTime(f"still running after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


WATCHED: list[str] = []
"""The folder outside the root, while a reader is at work."""
OPENED: list[str] = []
"""What was opened in it."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and WATCHED and isinstance(arguments[0], str):
        path, _, flags = arguments
        if not flags & os.O_NOFOLLOW and os.path.realpath(path).startswith(WATCHED[0]):
            OPENED.append(path)


sys.addaudithook(_watch)


@contextmanager
def nothing_opened_in(outside: Path) -> Iterator[None]:
    WATCHED.append(os.path.realpath(outside))
    OPENED.clear()
    try:
        yield
    finally:
        WATCHED.clear()
    assert OPENED == []


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        found.append((str(path), about.st_mode, about.st_size, about.st_mtime_ns))
    return found


def opened(name: str, root: Path) -> Dataset:
    dataset = open_set(name, root)
    dataset.on_bad_record = "skip"
    return dataset


def of_undamaged(name: str, root: Path) -> Known:
    samples = [sample for sample in opened(name, root).samples() if isinstance(sample, Sample)]
    return {sample.id: (sample, _given(sample, root)) for sample in samples}


def _given(sample: Sample, root: Path) -> tuple[object, ...]:
    content = hashlib.sha256(ImageFiles(root).read(sample)).hexdigest()
    return sample.split, sample.label, sample.subject, sample.video, sample.box, content


def survivors(tree: Tree, known: Known) -> set[str]:
    """The ids of samples that no damage has touched."""
    names = {sample_id: _names(sample) for sample_id, (sample, _) in known.items()}
    hurt: set[str] = set()
    for path in tree.touched:
        hurt |= _hurt_by_file(path, known, names)
    for path, number, line in tree.lines:
        hurt |= _hurt_by_line(tree, path, number, line, known, names)
    return known.keys() - hurt


def _names(sample: Sample) -> set[str]:
    """What a line, or the name of a file that belongs to a sample, would have of it."""
    image = sample.image.stem.removesuffix("_aligned") if isinstance(sample.image, Path) else sample.id
    return {image, sample.id.rpartition("/")[2], *([sample.video] if sample.video else [])}


def _hurt_by_file(path: Path, known: Known, names: dict[str, set[str]]) -> set[str]:
    if path.suffix.lower() in IMAGES:
        own = {key for key in known if _image(key, known) == path or path.as_posix().endswith(f"/{key}")}
        # Without one of its frames a sequence may be too short.
        return own | {key for key, (sample, _) in known.items() if sample.video and f"{sample.video}_" in path.stem}
    if path.suffix in ARCHIVES:
        return {key for key in known if f"/{path.name}/" in f"/{key}"}
    within = {key for key in known if (image := _image(key, known)) and path in image.parents}
    if not path.suffix and not path.is_file():
        return within
    beside = {key for key, own in names.items() if any(name in path.stem for name in own)}
    return within | beside or set(known)


def _image(key: str, known: Known) -> Path | None:
    image = known[key][0].image
    return image if isinstance(image, Path) else None


def _hurt_by_line(tree: Tree, path: Path, number: int, line: str, known: Known, names: dict[str, set[str]]) -> set[str]:
    beside = {key for key, own in names.items() if any(name in path.stem for name in own)}
    if beside:
        return beside
    if number == 1 or path.suffix == ".idx":
        return set(known)  # a header, or an index as a whole
    first = min(number, tree.moved.get(path, number))
    rows = {f"row{row:05d}" for row in (range(first - 2, 10**3) if path in tree.moved else [number - 2])}
    return {key for key, own in names.items() if key in rows or any(name in line for name in own)}


def packed(dataset: Dataset) -> dict[str, str]:
    """By id the SHA-256 of what was packed, or of the pixels of a stream."""
    if isinstance(dataset, StreamedDataset):
        return dict.fromkeys(map(str, stream_index.ensure_index(dataset, SIZE).ids), "")
    found = ImageStore(ensure_packed(dataset, SIZE))
    return dict(zip(found.ids, found.contents, strict=True))


def names_a_file(told: str, root: Path) -> bool:
    return str(root) in told or any(path.name in told for path in root.rglob("*"))


CASES = [(module, seed) for seed in range(-(-TREES // len(MODULES))) for module in MODULES]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    found = {}
    for module in MODULES:
        root = tmp_path_factory.mktemp("pristine")
        found[module.__name__] = root, sorted(module.build(root))
    return found


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("module", "seed"), CASES, ids=[f"{module.__name__.rpartition('.')[2]}-{seed}" for module, seed in CASES]
)
def test_damage_is_told_and_costs_nothing_else(
    tmp_path: Path, pristine: dict[str, tuple[Path, list[str]]], module: ModuleType, seed: int
) -> None:
    source, sets = pristine[module.__name__]
    chance = random.Random(f"{module.__name__} {seed}")
    tree = Tree(tmp_path / "root", tmp_path / "outside", chance)
    shutil.copytree(source, tree.root)
    plant(tree.outside)
    name = chance.choice(sets)
    known = of_undamaged(name, tree.root)
    print(name, *(tree.damage() for _ in range(1 + seed % 4)), sep="\n")
    before = snapshot(tree.root)
    with time_limit(), nothing_opened_in(tree.outside):
        read, problems = read_and_packed(name, tree.root)
    assert snapshot(tree.root) == before
    told = " ".join(problems)
    assert SECRET not in told
    assert not SECRETS & {given[-1] for given in read.values()}
    if read or not problems:
        assert {key: read.get(key) for key in survivors(tree, known)} == {
            key: known[key][1] for key in survivors(tree, known)
        }


def read_and_packed(name: str, root: Path) -> tuple[dict[str, Any], list[str]]:
    """What a reader gives of each image that can be packed, and what it says of everything else."""
    try:
        entries = list(read_samples(opened(name, root)))
        images = packed(opened(name, root))
    except FerbenchError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert names_a_file(told, root), told
        return {}, [told]
    damages = [entry for entry in entries if isinstance(entry, Damage)]
    assert all(entry.record and entry.reason for entry in damages)
    read: dict[str, Any] = {}
    for entry in entries:
        if isinstance(entry, Sample) and entry.id in images and entry.id not in read:
            read[entry.id] = _given(entry, root)
            assert images[entry.id] in ("", read[entry.id][-1])
            if isinstance(entry.image, Path):
                assert entry.image.resolve().is_relative_to(root.resolve())
    assert read.keys() == images.keys()
    return read, [f"{damage.record}: {damage.reason}" for damage in damages]
