"""What every registered reader owes: a name, words about its layout, and an error with the remedy where nothing is."""

import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

from ferbench.contract.dataset import EIGHT_CLASSES, Dataset
from ferbench.errors import DataError
from ferbench.plugins import load_registry


class EntryPoint:
    """This distribution's, installed or not."""

    name = "fer-datasets"
    dist = types.SimpleNamespace(name="ferbench-fer-datasets", version="0")

    def load(self) -> object:
        return import_module("ferbench_fer_datasets.plugin")


REGISTRY = load_registry({}, [EntryPoint()])  # type: ignore[list-item]
NAMES = REGISTRY.names("datasets")


def test_it_registers_without_a_complaint() -> None:
    assert REGISTRY.problems == ()
    assert {"raf-db", "fer2013", "ferplus", "affectnet"} <= set(NAMES)


def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_fer_datasets.plugin; print(sorted({'numpy', 'PIL', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_describes_itself(tmp_path: Path, name: str) -> None:
    reader = REGISTRY.get("datasets", name).load()
    assert issubclass(reader, Dataset)
    info = reader(tmp_path).info
    assert info.name == name
    assert info.title and info.licence and info.citation and info.rule
    assert info.default_classes in info.classes
    for names in info.classes.values():
        assert list(names) == [known for known in (*EIGHT_CLASSES, "other") if known in names], "in canonical order"
    for counts in info.official.values():
        assert any(set(counts) == set(names) for names in info.classes.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_answered_with_what_was_looked_for(tmp_path: Path, name: str) -> None:
    reader = REGISTRY.get("datasets", name).load()
    with pytest.raises(DataError, match=rf"{tmp_path.name}: no .* here or up to 2 folders below; "):
        list(reader(tmp_path).samples())
    with pytest.raises(DataError, match="no such folder"):
        list(reader(tmp_path / "nowhere").samples())
