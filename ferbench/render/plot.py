"""Draw plots as SVG: scales, lines, dots and texts; colours are the CSS variables of the page's palette."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ferbench.render.escape import plain
from ferbench.render.palette import series_name

LABEL = 34
"""Longest name in a plot, in characters."""
DASHES = ("none", "6 3", "2 3", "9 3 2 3")
"""Dash patterns, so that lines differ by more than their colour."""
STEPS = (1.0, 2.0, 5.0, 10.0)
TICKS = 5
LOG_TICKS = 3
"""A scale of more decades has ticks only at powers of ten."""


@dataclass(frozen=True)
class Scale:
    """Maps values to pixels. `start` is the pixel of the lowest value; it may be larger than `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (here - low) / (high - low) * (self.end - self.start)


def linear_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A linear scale over all values that begins and ends at a tick."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = power * next(factor for factor in STEPS if (high - low) / (power * factor) <= TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(index * step, 10) for index in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], start, end, ticks)


def log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale over values above 0; ticks are powers of ten, over few decades also times 2 and 5."""
    low, high = min(values) / 1.25, max(values) * 1.25
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = STEPS[:3] if len(decades) <= LOG_TICKS + 1 else STEPS[:1]
    ticks = tuple(factor * 10.0**decade for decade in decades for factor in factors)
    return Scale(low, high, start, end, tuple(tick for tick in ticks if low <= tick <= high), log=True)


def amount(value: float) -> str:
    """`57.6k`, `2M`, `0.05`: the label of a tick."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def element(tag: str, content: str = "", **attributes: float | str) -> Markup:
    """One SVG element; content and attributes are escaped unless they are Markup."""
    parts = [
        f'{name.rstrip("_").replace("_", "-")}="{f"{value:.1f}" if isinstance(value, float) else escape(value)}"'
        for name, value in attributes.items()
    ]
    return Markup(f"<{' '.join([tag, *parts])}>{escape(content)}</{tag}>")


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "ink", longest: int = LABEL) -> Markup:
    """A line of text, cut if it is too long."""
    return element("text", plain(words, longest), x=x, y=y, text_anchor=anchor, fill=f"var(--{colour})")


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "line", width: float = 1.0) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=f"var(--{colour})", stroke_width=width)


def dot(x: float, y: float, name: str, colour: str = "series-1", radius: float = 4.0) -> Markup:
    """A dot that shows its name when you point at it."""
    return element("circle", element("title", plain(name)), cx=x, cy=y, r=radius, fill=f"var(--{colour})")


def curve(points: Sequence[tuple[float, float]], index: int) -> Markup:
    """The line through the points, with the colour and dashes of its index."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = DASHES[index % len(DASHES)]
    return element(
        "path", d=path, fill="none", stroke=f"var(--{series_name(index)})", stroke_width=1.8, stroke_dasharray=dashes
    )


def swatch(index: int) -> Markup:
    """The sample of a line for a legend."""
    drawn = curve([(0.0, 5.0), (26.0, 5.0)], index)
    return element("svg", drawn, width=26.0, height=10.0, viewBox="0 0 26 10", aria_hidden="true")


def picture(width: float, height: float, description: str, parts: Sequence[Markup]) -> Markup:
    """The whole plot; screen readers read its description."""
    view = f"0 0 {width:g} {height:g}"
    return element("svg", Markup("").join(parts), role="img", aria_label=plain(description), viewBox=view, width=width)


def bottom_axis(scale: Scale, top: float, bottom: float, title: str) -> Iterator[Markup]:
    """Ticks below a plot, with grid lines up to `top`."""
    for tick in scale.ticks:
        yield line(scale.at(tick), top, scale.at(tick), bottom)
        yield text(scale.at(tick), bottom + 16, amount(tick), "middle", "muted")
    yield text((scale.start + scale.end) / 2, bottom + 36, title, "middle", "muted", longest=80)


def left_axis(scale: Scale, left: float, right: float) -> Iterator[Markup]:
    """Ticks left of a plot, with grid lines to `right`."""
    for tick in scale.ticks:
        yield line(left, scale.at(tick), right, scale.at(tick))
        yield text(left - 8, scale.at(tick) + 4, amount(tick), "end", "muted")
