from pathlib import Path

import pytest

from ferbench_synthfaces.render.assets import Assets, load_assets
from ferbench_synthfaces.render.plan import SetPlan
from ferbench_synthfaces.render.render_set import render_set

TINY = SetPlan("tiny", seed=5, size=48, train=33, test=20, pool=20)


@pytest.fixture(scope="session")
def assets() -> Assets:
    return load_assets()


@pytest.fixture(scope="session")
def tiny_plan() -> SetPlan:
    return TINY


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small rendered set: 33 training, 20 test and 20 pool images."""
    folder = tmp_path_factory.mktemp("sets") / "tiny"
    render_set(TINY, folder, workers=1, progress=lambda split, count: None)
    return folder
