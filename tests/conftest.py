"""What tests of the core share."""

from pathlib import Path

import pytest

from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from tests.support.pattern_set import write_pattern_set


@pytest.fixture(scope="session")
def registry() -> Registry:
    """What the core and the installed plugins register."""
    return load_registry()


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny learnable dataset that `--dataset` accepts: 120 training and 30 test images of three classes."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")
