"""Scales and elements of plots."""

import math
from xml.dom.minidom import parseString

import pytest

from ferbench.render import plot


@pytest.mark.parametrize(
    "values",
    [(0.0, 1.0), (71.2, 78.4), (-2.0, 6.8), (5.0, 5.0), (0.0,), (1e-6, 2e-6), (-1e9, 1e9), (57600.0, 403200.0)],
)
def test_a_linear_scale_holds_all_values_between_few_even_ticks(values: tuple[float, ...]) -> None:
    scale = plot.linear_scale(values, 50, 700)
    assert scale.low <= min(values) and max(values) <= scale.high
    assert (scale.at(scale.low), scale.at(scale.high)) == (50, 700)
    assert 2 <= len(scale.ticks) <= 8
    steps = [b - a for a, b in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize("values", [(57600.0, 403200.0), (0.5, 0.5), (1e-3, 1e6), (3.0, 4.0)])
def test_a_scale_of_factors_has_equal_factors_equally_far_apart(values: tuple[float, ...]) -> None:
    scale = plot.log_scale(values, 0, 100)
    middle = math.sqrt(scale.low * scale.high)
    assert scale.at(middle) == pytest.approx(50)
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert 1 <= len(scale.ticks) <= 11


def test_texts_of_strangers_are_texts() -> None:
    nasty = '"><script>alert(1)</script>\x00\u202e&'
    axis = plot.bottom_axis(plot.linear_scale([1, 2], 0, 9), 0, 9, nasty)
    svg = plot.picture(10, 10, nasty, [plot.text(1, 2, nasty, longest=200), plot.dot(3, 4, nasty), *axis])
    document = parseString(svg)
    assert {node.tagName for node in document.getElementsByTagName("*")} == {"svg", "text", "circle", "title", "line"}
    title = document.getElementsByTagName("title")[0].firstChild
    assert title is not None and title.nodeValue == '"><script>alert(1)</script> &'


@pytest.mark.parametrize(
    ("value", "text"), [(57_600, "57.6k"), (2_000_000, "2M"), (0.05, "0.05"), (-4, "-4"), (403_200, "403.2k"), (0, "0")]
)
def test_amounts_are_short(value: float, text: str) -> None:
    assert plot.amount(value) == text
