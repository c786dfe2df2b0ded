"""What holds for every look-alike and each reader of it."""

import time
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from ferbench.contract.dataset import EIGHT_CLASSES, Sample
from ferbench.errors import DataError
from ferbench.readers.account import take_account

from fer_lookalikes import MODULES
from fer_lookalikes.expected import REGISTRY, by_id, open_set, read, write_image

look_alikes = pytest.mark.parametrize("look_alike", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@look_alikes
def test_it_is_built_fast_and_always_the_same(tmp_path: Path, look_alike: ModuleType) -> None:
    first = look_alike.build(tmp_path / "a")  # imports what libraries import when they are used
    start = time.process_time()
    assert look_alike.build(tmp_path / "b") == first
    assert time.process_time() - start < 0.2
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    for name in first:
        assert read(name, tmp_path / "a") == read(name, tmp_path / "b")


@look_alikes
def test_all_that_is_there_is_read(tmp_path: Path, look_alike: ModuleType) -> None:
    for name, expected in look_alike.build(tmp_path).items():
        samples, damages = read(name, tmp_path)
        assert (by_id(samples), damages) == (by_id(expected), [])


@look_alikes
def test_the_account_is_complete(tmp_path: Path, look_alike: ModuleType) -> None:
    parts = {}
    for name, expected in look_alike.build(tmp_path).items():
        account = take_account(open_set(name, tmp_path))
        assert (list(account.unused()), account.count("damage")) == ([], 0)
        assert account.count("sample") == len(expected)
        parts[name] = sum(line.count for line in account.lines)
    write_image(tmp_path / "zz_stray/stray.png")
    for name, before in parts.items():
        account = take_account(open_set(name, tmp_path))
        assert sum(line.count for line in account.lines) == before + 1, (
            "an image that nobody expects is not passed over"
        )


READERS = [name for name, entry in sorted(REGISTRY.entries["datasets"].items()) if entry.load().needs_root]
OTHER_LABELS = {
    ("ferplus", "fer2013"),  # its label beside the votes
    ("affectnet_csv", "image-folder"),  # folders, of which the list says other things
    ("affectnet_csv", "huggingface"),
    ("webdataset", "shards"),  # labels that a pool does not read
}
"""Trees that say two things of an image, and the reader of the other."""


@look_alikes
def test_each_reader_accounts_for_every_look_alike_or_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_alike: ModuleType
) -> None:
    monkeypatch.setattr("ferbench.contract.account.EXAMPLES", 10**9)
    own = look_alike.build(tmp_path)
    truth: dict[int, set[object]] = {}
    for row in (row for rows in own.values() for row in rows):
        truth.setdefault(row.shade, set()).add(row.label if isinstance(row.label, str) else None)
    module = look_alike.__name__.rpartition(".")[2]
    for name in READERS:
        try:
            account, samples = take_account(open_set(name, tmp_path)), read(name, tmp_path)[0]
        except DataError:
            assert name not in own
            continue
        named = {example for line in account.lines for example in line.examples}
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            below = path.relative_to(tmp_path).as_posix()
            assert below in named or account.key(path) in account.touched, f"{name} says nothing of {below}"
        if name not in own and (module, name) not in OTHER_LABELS:
            labels = {(row.shade, row.label) for row in samples if isinstance(row.label, str)}
            assert all(label in truth.get(shade, ()) for shade, label in labels), name


@look_alikes
def test_every_image_is_one_and_lies_below_the_root(tmp_path: Path, look_alike: ModuleType) -> None:
    for name in look_alike.build(tmp_path):
        for sample in open_set(name, tmp_path).samples():
            assert isinstance(sample, Sample)
            if isinstance(sample.image, Path):
                assert sample.image.is_relative_to(tmp_path)
                with Image.open(sample.image) as image:
                    image.load()


@look_alikes
def test_labels_are_of_a_task_and_ids_are_unique(tmp_path: Path, look_alike: ModuleType) -> None:
    for name, expected in look_alike.build(tmp_path).items():
        known = {label for classes in open_set(name, tmp_path).info.classes.values() for label in classes}
        found = {label for row in expected if row.label for label in _names(row.label)}
        assert found <= known <= {*EIGHT_CLASSES, "other"}
        assert len({row.id for row in expected}) == len(expected)


def _names(label: object) -> list[str]:
    return [label] if isinstance(label, str) else list(label)  # type: ignore[call-overload]


@look_alikes
def test_the_digest_follows_the_files(tmp_path: Path, look_alike: ModuleType) -> None:
    for name in look_alike.build(tmp_path):
        before = open_set(name, tmp_path).source_digest()
        assert open_set(name, tmp_path).source_digest() == before
        sample = next(iter(open_set(name, tmp_path).samples()))
        assert isinstance(sample, Sample)
        path = sample.image if isinstance(sample.image, Path) else _first_file(tmp_path)
        content = path.read_bytes()
        path.unlink()
        assert open_set(name, tmp_path).source_digest() != before
        path.write_bytes(content)


def _first_file(root: Path) -> Path:
    return min(path for path in root.rglob("*") if path.is_file() and path.name[0] != ".")
