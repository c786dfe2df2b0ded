"""The plots of a run as SVG: pure functions of what they show, for the report and wherever else a plot is wanted."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ferbench.render.escape import plain
from ferbench.render.palette import LIGHT, SERIES, series_name
from ferbench.render.svg import draw
from ferbench.reporting.history import STAGE_LABEL, Chart, Curve

NARROW, WIDE, HEIGHT = 434.0, 892.0, 236.0
TOP, BOTTOM, LEFT, RIGHT = 34.0, 40.0, 46.0, 14.0
LETTER = 6.3  # mean width of a letter of the labels, generously
STAGE_LETTER = 5.6
LEAST_STAGE_NAME = 4  # letters
LABEL_GAP = 13.5
LEADER = 16.0

MAX_MATRIX = 60
MAX_COUNTED = 20
CLASS_LABEL = 14


def line_chart(chart: Chart) -> str:
    """Lines over steps, each named at its end; `themed` makes its colours follow the page."""
    width = WIDE if chart.wide else NARROW
    named = len(chart.curves) > 1
    longest = max((len(curve.label) for curve in chart.curves), default=0) if named else 0
    right = RIGHT + (LEADER + 6 + LETTER * longest if named else 0)
    box = (LEFT / width, BOTTOM / HEIGHT, (width - LEFT - right) / width, (HEIGHT - TOP - BOTTOM) / HEIGHT)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes(box)
        _lines(axes, chart)
        _frame(axes, chart)
        _stages(axes, chart.stages, width - LEFT - right)
        figure.text(2 / width, 1 - 6 / HEIGHT, chart.title, ha="left", va="top", fontsize=12.5, fontweight=700)
        if named:
            _end_labels(axes, chart.curves, HEIGHT - TOP - BOTTOM, width - LEFT - right)

    return draw(width, HEIGHT, paint)


def _lines(axes: Axes, chart: Chart) -> None:
    for curve in chart.curves:
        axes.plot(
            curve.steps,
            # nothing is cut off at the axes, so that a marker on the edge is whole: keep to what belongs in them
            [math.nan if value is None or (chart.percent and not 0 <= value <= 1) else value for value in curve.values],
            color=LIGHT[series_name(curve.color)],
            linestyle="-" if curve.color < SERIES else (0, (4, 1.5)),
            linewidth=1.6,
            # a value between two missing ones has no line: its marker shows it
            marker="o" if len(curve.steps) <= 60 else None,
            markersize=2.6,
            clip_on=False,
        )


def _frame(axes: Axes, chart: Chart) -> None:
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_xlabel("step", loc="right", labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(7 if chart.wide else 5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(*_extent(chart))
    if chart.percent:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    else:
        axes.set_ylim(*_limits(chart.curves))


def _extent(chart: Chart) -> tuple[float, float]:
    """From the beginning of the first stage that has a value to the last step."""
    end = max((step for curve in chart.curves for step in curve.steps), default=0.0)
    known = (x for curve in chart.curves for x, y in zip(curve.steps, curve.values, strict=True) if y is not None)
    first = min(known, default=0.0)
    return max((step for step, _ in chart.stages if step < first), default=0.0), max(end, 1)


def _stages(axes: Axes, stages: Sequence[tuple[float, str]], width: float) -> None:
    """A line where a stage begins, and its name as far as there is room before the next."""
    begin, end = axes.get_xlim()
    shown = [(step, name) for step, name in stages if step >= begin]
    for (step, name), (following, _) in pairwise([*shown, (math.inf, "")]):
        if step > begin:
            axes.axvline(step, color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
        room = min((following - step) / (end - begin) * width / STAGE_LETTER, STAGE_LABEL)
        if room >= min(len(name), LEAST_STAGE_NAME):
            axes.annotate(
                plain(name, int(room)),
                (step, 1),
                (3, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=9.5,
                color=LIGHT["muted"],
                annotation_clip=False,
            )


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """The range of the values with some air; from zero where that wastes little."""
    values = [value for curve in curves for value in curve.values if value is not None]
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < high / 2 else low - air), high + air


def _end_labels(axes: Axes, curves: Sequence[Curve], height: float, width: float) -> None:
    """Names at the ends of lines, moved apart where the lines end close together."""
    ends = []
    (low, high), (begin, last) = axes.get_ylim(), axes.get_xlim()
    for curve in curves:
        known = [(x, y) for x, y in zip(curve.steps, curve.values, strict=True) if y is not None]
        if known:
            x, y = known[-1]
            ends.append(
                (min(max((y - low) / (high - low), 0), 1) * height, (x - begin) / (last - begin) * width, curve)
            )
    # Of lines that end at one height, those that ended early stand above: leaders then cross no other name.
    ends.sort(key=lambda end: (end[0], end[1] < width, -end[2].color))
    for (y, x, curve), place in zip(ends, spread_apart([end[0] for end in ends], height), strict=True):
        # A line that ended early has its name beside the others', without a leader that would look like data.
        leader = [(1, y), (1 + 5 / width, y)] if x == width else [(1 + 7 / width, place)]
        leader.append((1 + LEADER / width, place))
        axes.plot(
            [right for right, _ in leader],
            [up / height for _, up in leader],
            color=LIGHT[series_name(curve.color)],
            linewidth=0.8,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1 + (LEADER + 4) / width,
            place / height,
            curve.label,
            transform=axes.transAxes,
            va="center_baseline",
            fontsize=10.5,
        )


def spread_apart(places: Sequence[float], height: float) -> list[float]:
    """Rising places at least a line of text apart, as near to the given ones as one pass up and one down get."""
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + LABEL_GAP)
    limit = height + LABEL_GAP / 2
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - LABEL_GAP
    return moved


def confusion_matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> str:
    """Counts, each cell shaded by its share of the true class (rows); up to `MAX_MATRIX` classes."""
    n = len(class_names)
    cell = min(68.0, max(10.0, 420.0 / n))
    names = [plain(name, CLASS_LABEL) for name in class_names]
    font = 11.0 if cell >= 20 else 8.0
    longest = max(map(len, names)) * LETTER * font / 10.5
    left, top = max(longest, 70.0) + 14, max(longest * 0.7, 24.0) + 16
    width, height = left + n * cell + longest * 0.6, top + n * cell + 8

    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((left / width, 8 / height, n * cell / width, n * cell / height))
        axes.set(xlim=(0, n), ylim=(n, 0), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.add_collection(_shades([[0.35] * n] * n, LIGHT["line"]))
        axes.add_collection(_shades(shares, LIGHT["heat"]))
        for i, name in enumerate(names):
            axes.text(-0.12, i + 0.5, name, ha="right", va="center_baseline", fontsize=font)
            axes.text(i + 0.35, -0.12, name, va="bottom", rotation=38, rotation_mode="anchor", fontsize=font)
        if n <= MAX_COUNTED:
            _counts(axes, confusion, shares)
        for up, words in ((26, "predicted →"), (10, "true ↓")):
            x, y = (left - 7) / width, 1 - (top - up) / height
            figure.text(x, y, words, ha="right", va="center_baseline", fontsize=10, color=LIGHT["muted"])

    return draw(width, height, paint)


def _shades(shares: Sequence[Sequence[float]], color: str) -> PatchCollection:
    """Squares of one colour. Transparency rather than a mixture: the page, light or dark, is the zero of the scale."""
    shaded = [(x, y, share) for y, row in enumerate(shares) for x, share in enumerate(row) if share]
    squares = [Rectangle((x + 0.02, y + 0.02), 0.96, 0.96) for x, y, _ in shaded]
    return PatchCollection(squares, facecolors=[to_rgba(color, share) for _, _, share in shaded], linewidths=0)


def _counts(axes: Axes, confusion: Sequence[Sequence[int]], shares: Sequence[Sequence[float]]) -> None:
    for y, row in enumerate(confusion):
        for x, count in enumerate(row):
            color = "on-heat" if shares[y][x] > 0.75 else "ink" if count else "muted"
            axes.text(
                x + 0.5,
                y + 0.52,
                str(count),
                ha="center",
                va="center_baseline",
                color=LIGHT[color],
                fontweight=700 if x == y else 400,
                fontsize=11 if count < 10_000 else 9,
            )
