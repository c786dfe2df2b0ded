from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferbench_synthfaces.render.plan import SetPlan

if TYPE_CHECKING:
    from ferbench_synthfaces.render.assets import Assets

TINY = SetPlan("tiny", seed=5, size=48, train=33, test=20, pool=20)


@pytest.fixture(scope="session")
def assets() -> "Assets":
    pytest.importorskip("numba")  # an optional dependency of the renderer
    from ferbench_synthfaces.render.assets import load_assets

    return load_assets()


@pytest.fixture(scope="session")
def tiny_plan() -> SetPlan:
    return TINY


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small rendered set: 33 training, 20 test and 20 pool images."""
    pytest.importorskip("numba")
    from ferbench_synthfaces.render.render_set import render_set

    folder = tmp_path_factory.mktemp("sets") / "tiny"
    render_set(TINY, folder, workers=1, progress=lambda split, count: None)
    return folder
