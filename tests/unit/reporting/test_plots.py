"""Plots are valid XML, equal for equal input, and show texts as they are."""

import itertools
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from ferbench.render.palette import DARK, LIGHT
from ferbench.render.svg import draw, themed
from ferbench.reporting.history import Chart, Curve, charts, thinned
from ferbench.reporting.plots import LABEL_GAP, confusion_matrix, line_chart, spread_apart
from tests.unit.records.factory import CLASS_NAMES
from tests.unit.reporting.samples import full_history

NAMES = ["<b>&\"'", "$x_1$", "_hidden", "表情", "a" * 500]
CONFUSION = [[5, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [0, 0, 0, 9, 0], [20000, 0, 0, 0, 1]]


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def chart(labels: list[str]) -> Chart:
    return Chart("Title $", tuple(Curve(label, (1.0, 2.0), (0.1, 0.2 * i), i) for i, label in enumerate(labels)))


def test_names_are_shown_as_they_are_and_cut_where_they_are_long() -> None:
    shown = texts(confusion_matrix(CONFUSION, NAMES))
    assert shown.count(NAMES[0]) == 2
    assert shown.count("$x_1$") == 2
    assert shown.count("表情") == 2
    assert max(map(len, shown)) < 20
    assert "20000" in shown


def test_every_line_is_named_also_with_an_underscore_in_front() -> None:
    shown = texts(line_chart(chart(NAMES[:4])))
    assert set(NAMES[:4]) <= set(shown)
    assert "Title $" in shown


STAGES = ((0.0, "reconstruct"), (900.0, "facemix"), (910.0, "pseudo-label"))


def staged(*values: float | None) -> Chart:
    steps = (450.0, 900.0, 905.0, 950.0, 1000.0)
    return Chart("Loss", (Curve("total", steps, values, 0),), stages=STAGES)


def test_a_stage_too_short_for_its_name_has_none_and_the_last_has_all_of_its_own() -> None:
    shown = texts(line_chart(staged(3.0, 2.0, 1.0, 1.0, 1.0)))
    assert {"reconstruct", "pseudo-label"} <= set(shown)
    assert not [text for text in shown if text.startswith("f")]


def test_the_axis_begins_with_the_first_stage_that_has_a_value() -> None:
    shown = texts(line_chart(staged(None, None, None, 0.5, 0.7)))
    assert set(shown) & {name for _, name in STAGES} == {"pseudo-label"}
    assert min(float(text) for text in shown if text.isdecimal() and len(text) > 2) >= 910


def test_equal_input_gives_equal_bytes_whatever_style_the_user_has_set() -> None:
    found = charts(thinned(full_history()), CLASS_NAMES)
    first = [line_chart(item) for item in found]
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert [line_chart(item) for item in found] == first
        assert matplotlib.rcParams["lines.linewidth"] == 9


def test_no_date_no_version_and_no_ids_that_another_figure_has() -> None:
    svg = line_chart(chart(["a", "b"]))
    assert "metadata" not in svg
    assert "figure_1" not in svg
    assert svg.startswith("<svg")


def test_a_theme_replaces_colours_in_tags_and_leaves_texts_alone() -> None:
    svg = draw(100, 50, lambda figure: figure.text(0.5, 0.5, f"fill: {LIGHT['ink']}", color=LIGHT["muted"]) and None)
    page = themed(svg)
    assert texts(page) == [f"fill: {LIGHT['ink']}"]
    assert "fill: var(--muted)" in page


def test_light_and_dark_have_the_same_names_and_no_colour_twice() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)


@pytest.mark.parametrize("values", [(0.0,), (None, 0.5), (3.0, 3.0), (-1e29, 1e29), (1e-12, 2e-12)])
def test_odd_values_are_drawn(values: tuple[float | None, ...]) -> None:
    steps = tuple(float(step) for step in range(len(values)))
    for percent in (True, False):
        ElementTree.fromstring(
            line_chart(Chart("x", (Curve("a", steps, values, 0), Curve("b", steps, values, 9)), percent=percent))
        )


@pytest.mark.parametrize("n", [2, 21, 60])
def test_any_number_of_classes(n: int) -> None:
    shown = texts(confusion_matrix([[1] * n] * n, [str(i) for i in range(n)]))
    assert shown.count("1") == (n * n + 2 if n <= 20 else 2)


@pytest.mark.parametrize("places", [[0.0] * 7, [160.0] * 5, [10.0, 11.0, 150.0], [0.0, 80.0, 160.0], []])
def test_labels_standspread_apart(places: list[float]) -> None:
    moved = spread_apart(places, 160.0)
    assert all(b - a >= LABEL_GAP - 1e-9 for a, b in itertools.pairwise(moved))
    assert all(-1 <= place <= 160 + LABEL_GAP for place in moved)
