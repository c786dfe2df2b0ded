"""Puts the package of look-alikes on the path, last, so that nothing beside it stands before another module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def own_hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hugging Face datasets asks no server, caches nothing in the user's folder, and draws no bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        settings = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path_factory.mktemp("huggingface"))}
        for name, value in settings.items():
            patch.setenv(name, value)
            if "datasets" in sys.modules:  # which has read them already
                patch.setattr(sys.modules["datasets"].config, name, value)
                sys.modules["datasets"].disable_progress_bars()
        yield
