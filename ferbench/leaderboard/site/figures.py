"""The plots of the site, from rows and histories."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ferbench.leaderboard.site.orders import CriticalDifference, pareto_front
from ferbench.leaderboard.tables import Row, Table
from ferbench.records.metrics import Metric
from ferbench.render import plot
from ferbench.render.palette import SERIES

MOST_LINES = SERIES
MOST_RANKS = 9
"""Most ticks of the axis of ranks."""
MOST_ROWS = 30
"""More rows would make the page heavy and the plot unreadable."""
WIDTH = 720.0
MARGIN = 12.0
LEFT = 56.0
NAMES = 250.0
"""Room for names left of a plot."""
BOTTOM = 46.0

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """A figure of a page: its title, drawing, explanation, and the names of its lines."""

    title: str
    svg: Markup
    note: str
    legend: tuple[tuple[Markup, str], ...] = ()


def seed_dots(rows: Sequence[Row], metric: Metric) -> Plot | None:
    """One line per row, with a dot for each seed and a stroke at the mean."""
    rows = rows[:MOST_ROWS]
    scores = [100 * score for row in rows for score in row.by_seed.values()]
    if not scores:
        return None
    height = 24.0 * len(rows) + MARGIN
    scale = plot.linear_scale(scores, NAMES, WIDTH - MARGIN)
    parts = list(plot.bottom_axis(scale, MARGIN / 2, height, f"{metric.title}, %"))
    for number, row in enumerate(rows):
        y = MARGIN + 24.0 * number + 6
        values = [100 * score for score in row.by_seed.values()]
        mean = scale.at(sum(values) / len(values))
        parts.append(plot.text(NAMES - 14, y + 4, row.title, "end"))
        parts.append(plot.line(mean, y - 8, mean, y + 8, "ink", 2.0))
        for seed, score in sorted(row.by_seed.items()):
            parts.append(plot.dot(scale.at(100 * score), y, f"{row.title}, seed {seed}: {metric.text(score)}"))
    note = "Each dot is a seed, the stroke is their mean."
    return Plot(
        "Scores by seed",
        plot.picture(WIDTH, height + BOTTOM, f"{metric.title} of each seed by row", parts),
        note + _first(rows, MOST_ROWS),
    )


def gain_against(table: Table, cost: Callable[[Row], float | None], name: str) -> Plot | None:
    """Gain against the cost of each row, with the Pareto front; the baseline has a gain of 0."""
    gains = {row.name: 100 * row.gain.mean for row in table.rows if row.gain is not None}
    gains |= {row.name: 0.0 for row in table.rows if row.name == table.baseline}
    shown = [row for row in table.rows if row.name in gains and (cost(row) or 0) > 0][:MOST_ROWS]
    if len(shown) < 2:
        return None
    points = [(float(cost(row) or 0), gains[row.name]) for row in shown]
    height = 320.0
    across = plot.log_scale([x for x, _ in points], LEFT, WIDTH - MARGIN)
    up = plot.linear_scale([*(y for _, y in points), 0.0], height, MARGIN)
    front = pareto_front(points)
    parts = [*plot.bottom_axis(across, MARGIN, height, name), *plot.left_axis(up, LEFT, WIDTH - MARGIN)]
    parts.append(plot.line(LEFT, up.at(0.0), WIDTH - MARGIN, up.at(0.0), "muted"))
    parts.append(plot.curve([(across.at(points[index][0]), up.at(points[index][1])) for index in front], 1))
    taken: list[tuple[float, float]] = []
    for index in sorted(range(len(points)), key=lambda index: index not in front):  # the front's names come first
        (x, y), title = points[index], shown[index].title
        at = across.at(x), up.at(y)
        colour = "series-2" if index in front else "series-1"
        parts.append(plot.dot(*at, f"{title}: {y:+.1f} points, {plot.amount(x)}", colour, 5.0))
        parts += _beside(at, title, taken)
    title = f"Gain against {name.split(',')[0]}"
    note = (
        "Points on the dashed line are the Pareto front: no other row gains more at a lower cost. Names without room "
        "appear when you point at their dot."
    )
    return Plot(title, plot.picture(WIDTH, height + BOTTOM, title, parts), note + _first(shown, MOST_ROWS))


def curves(title: str, note: str, lines: Sequence[tuple[str, Points]]) -> Plot | None:
    """Shares in percent over steps, one line for each name with at least two points."""
    shown = [(name, points) for name, points in lines[:MOST_LINES] if len(points) > 1]
    if not shown:
        return None
    height = 280.0
    values = [point for _, points in shown for point in points]
    across = plot.linear_scale([0.0, *(x for x, _ in values)], LEFT, WIDTH - MARGIN)
    up = plot.linear_scale([100 * y for _, y in values], height, MARGIN)
    parts = [*plot.bottom_axis(across, MARGIN, height, "step"), *plot.left_axis(up, LEFT, WIDTH - MARGIN)]
    for index, (_, points) in enumerate(shown):
        parts.append(plot.curve([(across.at(x), up.at(100 * y)) for x, y in points], index))
    legend = tuple((plot.swatch(index), name) for index, (name, _) in enumerate(shown))
    return Plot(title, plot.picture(WIDTH, height + BOTTOM, title, parts), note + _first(lines, MOST_LINES), legend)


def rank_line(found: CriticalDifference) -> Plot:
    """The critical-difference diagram of Demsar (JMLR 2006, figure 1): best on the left."""
    count = len(found.rows)
    step = math.ceil(count / MOST_RANKS)
    scale = plot.Scale(1, count, NAMES, WIDTH - NAMES, tuple(map(float, range(1, count + 1, step))))
    top = 52.0
    first_name = top + 22 + 9.0 * len(found.groups)
    half = (count + 1) // 2
    parts = [plot.line(scale.start, top, scale.end, top, "ink", 1.5)]
    for tick in scale.ticks:
        parts.append(plot.line(scale.at(tick), top - 6, scale.at(tick), top, "ink"))
        parts.append(plot.text(scale.at(tick), top - 12, f"{tick:g}", "middle", "muted"))
    length = min(found.difference / (count - 1), 1.0) * (scale.end - scale.start)
    parts.append(plot.line(scale.start, 14, scale.start + length, 14, "series-2", 3.0))
    parts.append(plot.text(scale.start + length + 8, 18, f"critical difference {found.difference:.2f}", colour="muted"))
    for index, (row, rank) in enumerate(zip(found.rows, found.ranks, strict=True)):
        left = index < half
        y = first_name + 20.0 * (index if left else count - 1 - index)
        edge = scale.start - 8 if left else scale.end + 8
        parts.append(plot.line(scale.at(rank), top, scale.at(rank), y, "muted"))
        parts.append(plot.line(scale.at(rank), y, edge, y, "muted"))
        name = f"{row.title[:26]} {rank:.2f}" if left else f"{rank:.2f} {row.title[:26]}"
        parts.append(plot.text(edge - 6 if left else edge + 6, y + 4, name, "end" if left else "start"))
    for number, (first, last) in enumerate(found.groups):
        y = top + 9.0 * (number + 1)
        ends = scale.at(found.ranks[first]) - 4, scale.at(found.ranks[last]) + 4
        parts.append(plot.line(ends[0], y, ends[1], y, "series-1", 4.0))
    note = (
        f"Mean ranks over {found.seeds} seeds (1 is best). Rows under one bar are within the critical difference of "
        f"Nemenyi's test at 5 %; Friedman's test that all rows are equal: p = {found.p_value:.2g}. The seeds share the "
        "test images, so this describes the variation of training, not of other faces."
    )
    picture = plot.picture(WIDTH, first_name + 20.0 * half + 4, "Critical-difference diagram of mean ranks", parts)
    return Plot("Mean ranks", picture, note)


def _beside(at: tuple[float, float], name: str, taken: list[tuple[float, float]]) -> Iterator[Markup]:
    """The name of a dot, unless it would overlap an earlier name."""
    right = at[0] < WIDTH * 0.66
    x, y = at[0] + (9 if right else -9), at[1] + 4
    if not any(abs(y - other) < 13 and abs(x - place) < 180 for place, other in taken):
        taken.append((x, y))
        yield plot.text(x, y, name, "start" if right else "end", longest=28)


def _first(shown: Sequence[object], most: int) -> str:
    """A sentence that the drawing is limited, if the limit is reached."""
    return f" At most {most} are shown." if len(shown) >= most else ""
