"""Plots are valid XML, equal for equal input, and show texts as they are."""

import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from ferbench.render.palette import DARK, LIGHT
from ferbench.render.svg import draw, themed
from ferbench.reporting.history import Chart, charts, thinned
from ferbench.reporting.plots import line_chart
from tests.unit.records.factory import CLASS_NAMES
from tests.unit.reporting.samples import full_history

NAMES = ["<b>&\"'", "$x_1$", "_hidden", "表情", "a" * 500]


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def chart(labels: list[str]) -> Chart:
    return Chart("Title $", (1, 2), {label: (0.1, 0.2 * i) for i, label in enumerate(labels)})


def test_names_are_shown_as_they_are_and_cut_where_they_are_long() -> None:
    shown = texts(line_chart(chart(NAMES)))
    assert set(NAMES[:4]) <= set(shown)
    assert "a" * 17 + "…" in shown
    assert max(map(len, shown)) < 20


def test_every_line_is_named_also_with_an_underscore_in_front() -> None:
    shown = texts(line_chart(chart(NAMES[:4])))
    assert set(NAMES[:4]) <= set(shown)
    assert "Title $" in shown


STAGES = ((0, "reconstruct"), (900, "facemix"), (910, "pseudo-label"))


def staged(*values: float | None) -> Chart:
    return Chart("Loss", (450, 900, 905, 950, 1000), {"total": values}, stages=STAGES)


def test_a_stage_too_short_for_its_name_has_none_and_the_last_has_all_of_its_own() -> None:
    shown = texts(line_chart(staged(3.0, 2.0, 1.0, 1.0, 1.0)))
    assert {"reconstruct", "pseudo-label"} <= set(shown)
    assert not [text for text in shown if text.startswith("f")]


def test_the_axis_begins_with_the_first_stage_that_has_a_value() -> None:
    shown = texts(line_chart(staged(None, None, None, 0.5, 0.7)))
    assert set(shown) & {name for _, name in STAGES} == {"pseudo-label"}
    assert min(float(text) for text in shown if text.isdecimal() and len(text) > 2) >= 910


@pytest.mark.slow
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
    for percent in (True, False):
        ElementTree.fromstring(line_chart(Chart("x", range(len(values)), {"a": values, "b": values}, percent=percent)))


def test_lines_that_coincide_are_told_apart() -> None:
    svg = line_chart(Chart("Zeros", (1, 2, 3), dict.fromkeys("abcd", (0.0, 0.0, 0.0)), axis="share"))
    root = ElementTree.fromstring(svg)
    styles = [element.get("style", "") for element in root.iter("{http://www.w3.org/2000/svg}path")]
    drawn = {name: [style for style in styles if LIGHT[f"series-{n}"] in style] for n, name in enumerate("abcd", 1)}
    dashes = {
        name: {part for style in of for part in style.split(";") if "dasharray" in part} for name, of in drawn.items()
    }
    assert dashes["a"] == set(), "the lowest is whole"
    assert all(dashes[name] for name in "bcd"), "the others have gaps that show it"
    assert {"share", "step"} <= set(texts(svg))
