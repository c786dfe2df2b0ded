"""Draw with Matplotlib as SVG for pages: equal bytes for equal input, texts as texts, colours as variables."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ferbench.render.palette import LIGHT

SETTINGS: Any = {
    "svg.hashsalt": "ferbench",
    "svg.fonttype": "none",
    # Names of classes and loss terms are shown literally: "$" must not start a formula.
    "text.parse_math": False,
    "font.size": 11.0,
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": 11.0,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.ymargin": 0.06,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 2.6,
    "figure.constrained_layout.use": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "xtick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "xtick.labelsize": 10.5,
    "ytick.labelcolor": LIGHT["muted"],
    "ytick.labelsize": 10.5,
    "ytick.left": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
POINTS_PER_INCH = 72  # the unit of matplotlib's SVG; a point is a pixel if the picture has its own width

_TAG = re.compile(r"<[a-z][^<>]*>")
_COLOR = re.compile("|".join(LIGHT.values()))
_NAMES = {color: name for name, color in LIGHT.items()}


def draw(width: float, height: float, paint: Callable[[Figure], None]) -> str:
    """The `<svg>` element of a figure of `width` x `height` pixels that `paint` fills; ignores the user's style."""
    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's browser can draw characters that are missing in the font used here for measuring.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
        paint(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    element = buffer.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', element, count=2)
    # Matplotlib numbers its groups from 1 in every figure, so two figures of a page would have the same ids.
    return re.sub(r'<g id="[^"<>]*"', "<g", element)


def themed(svg: str) -> str:
    """The SVG with the palette's colours as CSS variables; only tags change, texts do not."""
    return _TAG.sub(lambda tag: _COLOR.sub(lambda color: f"var(--{_NAMES[color[0]]})", tag[0]), svg)
