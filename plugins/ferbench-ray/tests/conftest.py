"""A tiny dataset and what is registered."""

from pathlib import Path

import pytest
from tests.support.pattern_set import write_pattern_set

from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny learnable dataset that `--dataset` accepts."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")


@pytest.fixture(scope="session")
def registry() -> Registry:
    """What the core and the installed plugins register."""
    return load_registry()
