"""The data card states what the code does."""

import re
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.assets import default_path
from ferbench_synthfaces.render.difficulty import LEVELS
from ferbench_synthfaces.render.manifest import schema
from ferbench_synthfaces.render.plan import class_counts

FOLDER = Path(__file__).parents[1]
CARD = (FOLDER / "README.md").read_text("utf-8")


def test_class_counts() -> None:
    rows = {name: (train, test) for name, train, test in re.findall(r"\| (\w+) \| ([\d,]+) \| ([\d,]+) \|", CARD)}
    train, test = class_counts(8250), class_counts(3100)
    assert rows == {name: (f"{train[name]:,}", f"{test[name]:,}") for name in train}
    assert f"| **{8250 - train['contempt']:,}** | **{3100 - test['contempt']:,}** |" in CARD


def test_every_column_is_explained() -> None:
    for name in schema(["one"], labeled=True).names:
        assert f"`{name}`" in CARD, name


def test_knobs_that_the_text_names() -> None:
    standard = LEVELS["standard"]
    assert (standard.blend_probability, standard.blend_share) == (0.16, 0.38)
    assert round(2.2 * standard.yaw) == 25


def test_sizes() -> None:
    assert default_path().stat().st_size < 1.6e6
    assert (FOLDER / "docs" / "face_sheet.png").stat().st_size < 400e3
