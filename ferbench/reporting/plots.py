"""The curves of a run as SVG; pure functions of their charts."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferbench.render.escape import plain
from ferbench.render.palette import LIGHT, series_name
from ferbench.render.svg import draw
from ferbench.reporting.history import Chart

NARROW, WIDE, HEIGHT = 434.0, 892.0, 236.0
LABEL = 18  # letters
AXIS = 24
DASHES = ("-", (0, (5, 2.5)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
"""Dash patterns: if lines coincide, as many do at zero, the lower ones show through the gaps of the upper ones."""
MARKERS = (4.6, 3.6, 2.6, 1.8)
"""Sizes of dots: larger ones are drawn first, so that they show around the others."""
STAGE_LETTER = 7.0  # upper bound of a character's width


def line_chart(chart: Chart) -> str:
    """Lines over steps with a legend, as SVG in the light colours; `themed` makes it follow the page."""
    width = WIDE if chart.wide else NARROW

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _lines(axes, chart)
        _limits(axes, chart)
        _stages(axes, chart.stages, width / 2)
        axes.set_title(chart.title, loc="left", pad=18 if chart.stages else 8)
        axes.set_xlabel("step")
        axes.set_ylabel(plain(chart.axis, AXIS))
        if len(chart.curves) > 1:
            lines = axes.lines[: len(chart.curves)]
            legend = figure.legend(lines, ["name"] * len(lines), loc="outside right upper")
            for text, label in zip(legend.get_texts(), chart.curves, strict=True):
                text.set_text(plain(label, LABEL))  # set afterwards: a legend omits names that begin with "_"

    return draw(width, HEIGHT, paint)


def _lines(axes: Axes, chart: Chart) -> None:
    for number, values in enumerate(chart.curves.values()):
        axes.plot(
            chart.steps,
            # Nothing is clipped at the axes, to show markers on the edge completely, so drop values outside them.
            [math.nan if value is None or (chart.percent and not 0 <= value <= 1) else value for value in values],
            color=LIGHT[series_name(number)],
            linestyle=DASHES[number % len(DASHES)],
            # A value between two missing ones has no line, but its marker shows it.
            marker="o" if len(chart.steps) <= 60 else None,
            markersize=MARKERS[number % len(MARKERS)],
            clip_on=False,
        )


def _limits(axes: Axes, chart: Chart) -> None:
    """Set the axes: percent from 0 to 100, other values from 0 if that wastes little space.

    Steps begin with the first stage that has values.
    """
    if chart.percent:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    elif 0 <= axes.dataLim.y0 < axes.dataLim.y1 / 2:
        axes.set_ylim(bottom=0)
    first, last = (axes.dataLim.x0, max(chart.steps)) if axes.dataLim.x0 < math.inf else (0, 1)
    begin = max((step for step, _ in chart.stages if step < first), default=0)
    axes.set_xlim(begin, max(last, begin + 1))
    axes.xaxis.set_major_locator(MaxNLocator(7 if chart.wide else 5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _stages(axes: Axes, stages: Sequence[tuple[int, str]], width: float) -> None:
    """Mark the begin of each stage by a line, and by its name if there is enough room before the next stage."""
    begin, end = axes.get_xlim()
    shown = [(step, plain(name, LABEL)) for step, name in stages if step >= begin]
    for (step, name), (following, _) in pairwise([*shown, (math.inf, "")]):
        if step > begin:
            axes.axvline(step, color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
        if len(name) * STAGE_LETTER <= (following - step) / (end - begin) * width:
            place = axes.get_xaxis_transform()
            axes.text(step, 1.02, name, transform=place, fontsize=9.5, color=LIGHT["muted"])
