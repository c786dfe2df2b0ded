"""What holds for every look-alike and the reader of it."""

import time
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from ferbench.contract.dataset import EIGHT_CLASSES, Sample

from . import (
    lookalike_aff_wild2,
    lookalike_ck_plus,
    lookalike_expw,
    lookalike_jaffe,
    lookalike_kdef,
    lookalike_sfew,
)
from .expected import read

LABELED = (
    lookalike_aff_wild2,
    lookalike_ck_plus,
    lookalike_expw,
    lookalike_jaffe,
    lookalike_kdef,
    lookalike_sfew,
)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lookalike", LABELED)
def test_it_is_built_fast_and_always_the_same(lookalike: ModuleType, tmp_path: Path) -> None:
    start = time.process_time()
    first = lookalike.build(tmp_path / "a")
    assert time.process_time() - start < 0.2
    assert lookalike.build(tmp_path / "b") == first
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert read(lookalike.READER(tmp_path / "a")) == read(lookalike.READER(tmp_path / "b"))


@pytest.mark.parametrize("lookalike", LABELED)
def test_every_sample_has_an_image_below_the_root(lookalike: ModuleType, tmp_path: Path) -> None:
    lookalike.build(tmp_path)
    for sample in lookalike.READER(tmp_path).samples():
        assert isinstance(sample, Sample)
        assert isinstance(sample.image, Path)
        assert sample.image.is_relative_to(tmp_path)
        with Image.open(sample.image) as image:
            image.load()


@pytest.mark.parametrize("lookalike", LABELED)
def test_labels_are_of_the_default_task_and_ids_are_unique(lookalike: ModuleType, tmp_path: Path) -> None:
    expected = lookalike.build(tmp_path)
    info = lookalike.READER(tmp_path).info
    classes = info.classes[info.default_classes]
    assert {row.label for row in expected} <= set(classes) <= {*EIGHT_CLASSES, "other"}
    assert len({row.id for row in expected}) == len(expected)
    assert all(set(counts) <= set(classes) for counts in info.official.values())
    assert info.gated
    assert info.licence and info.citation and info.rule


@pytest.mark.parametrize("lookalike", LABELED)
def test_the_digest_follows_the_files(lookalike: ModuleType, tmp_path: Path) -> None:
    lookalike.build(tmp_path)
    before = lookalike.READER(tmp_path).source_digest()
    assert lookalike.READER(tmp_path).source_digest() == before
    sample = next(iter(lookalike.READER(tmp_path).samples()))
    sample.image.unlink()
    assert lookalike.READER(tmp_path).source_digest() != before
