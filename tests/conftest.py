"""What holds for every test: the developer's own settings and caches neither change results nor are changed."""

import os

# Before torch is imported anywhere: small tensors on several threads spin more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pattern_set import write_pattern_set


@pytest.fixture(autouse=True, scope="session")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No FERBENCH_ variable from outside, and a cache that is shared by the tests of this session only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("FERBENCH_"):
                patch.delenv(name)
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("FERBENCH_CACHE", str(cache))
        yield cache


@pytest.fixture(autouse=True, scope="session")
def heeds_ctrl_c() -> None:
    """A shell's background job inherits that SIGINT is ignored, and would pass that on to the commands under test."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny learnable data set that `--dataset` accepts: 120 training and 30 test images of three classes."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")
