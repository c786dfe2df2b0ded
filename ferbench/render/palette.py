"""The colours of pages by name, light and dark. Plots are drawn in the light colours and themed afterwards."""

SERIES = 8

# name: light, dark
_COLORS = {
    "paper": ("#ffffff", "#14181c"),
    "panel": ("#f5f7f9", "#1d2328"),
    "ink": ("#1c2228", "#e4e9ee"),
    "muted": ("#5b6672", "#9aa6b2"),
    "line": ("#d7dde3", "#343c44"),
    "heat": ("#1464a5", "#2f7fc1"),
    "matrix": ("#1463a4", "#2a76b6"),  # background of texts in "on-heat"
    "on-heat": ("#fefefe", "#fefefe"),
    "warn": ("#9a4a00", "#ffb866"),
    "warn-panel": ("#fff3e0", "#33260f"),
    "fail": ("#b3261e", "#ff8a80"),
    "fail-panel": ("#fdecea", "#3a1b19"),
    # Okabe and Ito's hues; the light ones are darkened until a thin line is visible on white.
    "series-1": ("#0072b2", "#4aa8e0"),
    "series-2": ("#d55e00", "#f28444"),
    "series-3": ("#009371", "#2fbf9b"),
    "series-4": ("#c05a94", "#e28fbd"),
    "series-5": ("#b07d00", "#d9a72e"),
    "series-6": ("#3a9bd9", "#8fcbf2"),
    "series-7": ("#6b4fa0", "#a68ee0"),
    "series-8": ("#6e7780", "#a3acb5"),
}
LIGHT, DARK = ({name: pair[theme] for name, pair in _COLORS.items()} for theme in (0, 1))


def series_name(index: int) -> str:
    """The colour name of a line or a class; colours repeat after eight."""
    return f"series-{index % SERIES + 1}"
