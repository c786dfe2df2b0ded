"""The report's colours by name, for light and for dark; plots are drawn in the light ones and themed afterwards."""

from collections.abc import Mapping

SERIES = 8

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "panel": "#f5f7f9",
    "ink": "#1c2228",
    "muted": "#5b6672",
    "line": "#d7dde3",
    "heat": "#1464a5",
    "on-heat": "#fefefe",
    "warn": "#9a4a00",
    "warn-panel": "#fff3e0",
    "fail": "#b3261e",
    "fail-panel": "#fdecea",
    # Okabe and Ito's hues, the light ones darkened until a thin line of them is seen on white.
    "series-1": "#0072b2",
    "series-2": "#d55e00",
    "series-3": "#009371",
    "series-4": "#c05a94",
    "series-5": "#b07d00",
    "series-6": "#3a9bd9",
    "series-7": "#6b4fa0",
    "series-8": "#6e7780",
}

DARK: Mapping[str, str] = {
    "paper": "#14181c",
    "panel": "#1d2328",
    "ink": "#e4e9ee",
    "muted": "#9aa6b2",
    "line": "#343c44",
    "heat": "#2f7fc1",
    "on-heat": "#fefefe",
    "warn": "#ffb866",
    "warn-panel": "#33260f",
    "fail": "#ff8a80",
    "fail-panel": "#3a1b19",
    "series-1": "#4aa8e0",
    "series-2": "#f28444",
    "series-3": "#2fbf9b",
    "series-4": "#e28fbd",
    "series-5": "#d9a72e",
    "series-6": "#8fcbf2",
    "series-7": "#a68ee0",
    "series-8": "#a3acb5",
}


def series_name(index: int) -> str:
    """The name of a line's or a class's colour; after the eighth they begin again."""
    return f"series-{index % SERIES + 1}"
