"""Damaged and hostile copies of every look-alike: errors that say where, the rest as it was, nothing from outside."""

import random
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.time_limit import time_limit

from ferbench.contract.dataset import Damage, Dataset, Sample
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare import stream_index
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.prepare.writer import read_samples
from ferbench.errors import FerbenchError
from ferbench.readers.streams import StreamedDataset

from fer_lookalikes import MODULES
from fer_lookalikes.damaging import SECRET, Tree, plant
from fer_lookalikes.surviving import SECRETS, given, of_undamaged, opened, survivors
from fer_lookalikes.watching import nothing_read_in

TREES = 400
"""Of all modules together; each is damaged in one to four ways, so there are a thousand."""
SIZE = 8


@pytest.fixture(autouse=True)
def in_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stream_index, "worker_count", lambda: 1)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        found.append((str(path), about.st_mode, about.st_size, about.st_mtime_ns))
    return found


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
    with time_limit(), nothing_read_in(tree.outside):
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
            read[entry.id] = given(entry, root)
            assert images[entry.id] in ("", read[entry.id][-1])
            if isinstance(entry.image, Path):
                assert entry.image.resolve().is_relative_to(root.resolve())
    assert read.keys() == images.keys()
    return read, [f"{damage.record}: {damage.reason}" for damage in damages]
