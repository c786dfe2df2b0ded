"""A real SLURM, for tests that need one, and a sweep of tiny cells."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.local_slurm import LocalSlurm, local_slurm, why_not
from tests.support.pattern_set import write_pattern_set

from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    """One node of four cores, whose arrays have at most four tasks; its jobs' environment is that of this process."""
    if reason := why_not():
        pytest.skip(reason)
    with local_slurm(tmp_path_factory.mktemp("slurm"), largest=4) as slurm, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(slurm.conf))
        yield slurm


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny learnable dataset that `--dataset` accepts."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")


@pytest.fixture(scope="session")
def registry() -> Registry:
    """What the core and the installed plugins register."""
    return load_registry()
