"""Pixels against a reference made on another machine: equal, or at most marginally different."""

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.reference import compare_with_reference

FOLDER = Path(__file__).parent / "reference"


@pytest.mark.slow
def test_the_reference_is_rendered(capsys) -> None:
    comparison = compare_with_reference(FOLDER)
    with capsys.disabled():
        print(f"\n[synthfaces] {comparison}")
    assert comparison.identical == comparison.images or comparison.mean_difference < 0.5
