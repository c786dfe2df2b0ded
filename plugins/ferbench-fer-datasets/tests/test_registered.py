"""What the plugin registers can be opened under the name that it is registered by, and costs nothing until then."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ferbench.contract.dataset import Dataset
from ferbench_fer_datasets.plugin import ferbench_register_datasets

ENTRIES: dict[str, tuple[str, str]] = {}


def note(name: str, target: str, *, summary: str, **more: Any) -> None:
    assert name not in ENTRIES
    ENTRIES[name] = (target, summary)


ferbench_register_datasets(note)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_reader_of_a_name_has_that_name(name: str, tmp_path: Path) -> None:
    target, summary = ENTRIES[name]
    module, _, attribute = target.partition(":")
    reader = getattr(importlib.import_module(module), attribute)
    assert issubclass(reader, Dataset)
    assert reader(tmp_path).info.name == name
    assert reader.__doc__
    assert len(summary) <= 90


def test_hooks_and_readers_import_nothing_heavy() -> None:
    modules = sorted({target.partition(":")[0] for target, _ in ENTRIES.values()})
    code = (
        f"import sys, {', '.join(modules)}; print(sorted({{'torch', 'pandas', 'PIL', 'pyarrow'}} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
