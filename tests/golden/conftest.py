"""The golden values: what the papers' released code gives on seeded random inputs, in float32."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "reference.json").read_text("utf-8"))
