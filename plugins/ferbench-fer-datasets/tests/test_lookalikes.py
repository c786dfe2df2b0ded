"""The look-alike trees themselves: the same each time, and read by what they say."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from expected import open_set

MODULES = [import_module(path.stem) for path in sorted(Path(__file__).parent.glob("lookalike_*.py"))]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_tree_is_the_same_each_time(tmp_path: Path, module: ModuleType) -> None:
    samples = [module.build(tmp_path / place) for place in ("first", "second")]
    assert samples[0] == samples[1]
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_order_of_samples_stays(tmp_path: Path, module: ModuleType) -> None:
    for name in module.build(tmp_path):
        assert list(open_set(name, tmp_path).samples()) == list(open_set(name, tmp_path).samples())
