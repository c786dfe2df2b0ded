"""What every registered reader owes: a name, words about its layout, and an error with the remedy where nothing is."""

import subprocess
import sys
from pathlib import Path

import pytest

from ferbench.contract.dataset import EIGHT_CLASSES, Dataset
from ferbench.errors import DataError
from ferbench.readers.streams import StreamedDataset

from fer_lookalikes import MODULES
from fer_lookalikes.expected import REGISTRY

OWN = "ferbench-fer-datasets"
NAMES = [name for name in REGISTRY.names("datasets") if REGISTRY.get("datasets", name).distribution == OWN]


def test_it_registers_without_a_complaint() -> None:
    assert REGISTRY.problems == ()
    assert {"raf-db", "fer2013", "ferplus", "affectnet", "sfew", "expw", "aff-wild2", "celeba"} <= set(NAMES)


def test_every_name_has_a_look_alike(tmp_path: Path) -> None:
    built = {name for module in MODULES for name in module.build(tmp_path / module.__name__)}
    assert built >= set(NAMES)


@pytest.mark.process
def test_hooks_and_readers_import_nothing_heavy() -> None:
    modules = ["plugin", *sorted({REGISTRY.get("datasets", name).target.partition(":")[0] for name in NAMES})]
    names = ", ".join(name if "." in name else f"ferbench_fer_datasets.{name}" for name in modules)
    heavy = {"torch", "pandas", "PIL", "pyarrow"}
    code = f"import sys, {names}; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_describes_itself(tmp_path: Path, name: str) -> None:
    entry = REGISTRY.get("datasets", name)
    reader = entry.load()
    assert issubclass(reader, Dataset)
    assert reader.__doc__
    assert not reader.needs_name
    assert len(entry.summary) <= 90
    info = reader(tmp_path).info
    assert info.name == name
    assert info.title and info.licence and info.citation and info.rule
    for names in info.classes.values():
        assert list(names) == [known for known in (*EIGHT_CLASSES, "other") if known in names], "in canonical order"
    for counts in info.official.values():
        assert any(set(counts) <= {*names, "all"} for names in info.classes.values())
    if issubclass(reader, StreamedDataset):
        assert (info.classes, info.name) == ({}, info.family)
    else:
        assert info.default_classes in info.classes


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_answered_with_what_was_looked_for(tmp_path: Path, name: str) -> None:
    reader = REGISTRY.get("datasets", name).load()
    with pytest.raises(DataError, match=rf"{tmp_path.name}: no .* here.*; "):
        list(reader(tmp_path).samples())
    with pytest.raises(DataError, match="no such folder"):
        list(reader(tmp_path / "nowhere").samples())
