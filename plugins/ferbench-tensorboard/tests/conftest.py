"""A tiny dataset."""

from pathlib import Path

import pytest
from tests.support.pattern_set import write_pattern_set


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny learnable dataset that `--dataset` accepts."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")
