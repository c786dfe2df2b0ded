"""The columns of a leaderboard: one list from which every output selects."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

from ferbench.leaderboard.published import published_fields
from ferbench.leaderboard.tables import Row, Table
from ferbench.leaderboard.wording import (
    gain_text,
    interval_text,
    mean_text,
    p_text,
    place_text,
    private_text,
    published_text,
    seeds,
    tied_text,
    trust_text,
)
from ferbench.records.metrics import BY_KEY, Metric, shown_in
from ferbench.render.numbers import NONE, sentence_case

Output = Literal["text", "flat", "json"]
"""Text: Markdown, terminal and LaTeX. Flat: CSV and Parquet, a line per row."""
TEXT: frozenset[Output] = frozenset({"text"})
FLAT: frozenset[Output] = frozenset({"flat"})
JSON: frozenset[Output] = frozenset({"json"})
ALL = TEXT | FLAT | JSON

# The last bits of a mean differ between machines, but the files must not.
DIGITS = 6
MAIN_METRICS = ("accuracy", "balanced_accuracy")
SPREAD = dict.fromkeys(("mean", "sd", "low", "high"), "Float64")
PAIRED = {
    **dict.fromkeys(("mean", "low", "high"), "Float64"),
    "pairs": "Int64",
    **dict.fromkeys(("p_unadjusted", "smallest", "within"), "Float64"),
    "images": "Int64",
}
PUBLISHED = dict.fromkeys(("percent", "metric", "selected_on", "backbone", "source", "address", "command"), "string")


@dataclass(frozen=True)
class Column:
    """One column: a value for programs, a text for people, or both."""

    key: str
    value: Callable[[Row, Table], Any] | None = None
    """The value for programs; if None, the row's field named `key`."""
    dtype: str | Mapping[str, str] = "string"
    """The pandas type, or the type of each part of the value; parts become columns `key_part` in flat files."""
    outputs: frozenset[Output] = FLAT | JSON
    within: str = ""
    """The JSON object that holds the value; the row itself if empty."""
    title: str = ""
    text: Callable[[Row, Table], str] = lambda row, table: NONE
    main: bool = False
    """Whether the column is in the first, narrow table of a page; the others follow in a second table."""
    words: bool = False
    """Whether the text is words, aligned to the left, instead of a number."""
    dropped: int | None = None
    """A narrow terminal drops the column with the lowest number first; columns without a number always stay."""

    def of(self, row: Row, table: Table) -> Any:
        """The value with all floats rounded; a mapping if it has several parts."""
        return _rounded(getattr(row, self.key) if self.value is None else self.value(row, table))

    def types(self) -> dict[str, str]:
        """Names and types in flat files."""
        if isinstance(self.dtype, str):
            return {self.key: self.dtype}
        return {f"{self.key}_{part}": dtype for part, dtype in self.dtype.items()}

    def flat(self, row: Row, table: Table) -> dict[str, Any]:
        """The values in flat files."""
        value = self.of(row, table)
        if isinstance(self.dtype, str):
            return {self.key: value}
        return {f"{self.key}_{part}": (value or {}).get(part) for part in self.dtype}


def _rounded(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, DIGITS) + 0.0 if isinstance(value, float) else value  # no "-0.0"


def _metric(metric: Metric) -> Column:
    return Column(
        metric.key,
        lambda row, table: row.metrics.get(metric.key),
        SPREAD,
        ALL,
        within="metrics",
        title=sentence_case(metric.short_title),
        text=lambda row, table: mean_text(metric, row.metrics.get(metric.key)),
        main=metric.key in MAIN_METRICS,
        dropped=metric.dropped,
    )


def _gain(row: Row, table: Table) -> str:
    return "baseline" if row.name == table.baseline else gain_text(BY_KEY[table.key.headline], row.gain)


def _interval(row: Row, table: Table) -> str:
    return interval_text(BY_KEY[table.key.headline], row.metrics.get(table.key.headline))


def _optimism(row: Row, table: Table) -> str:
    return NONE if row.optimism is None else f"{100 * row.optimism.mean:+.1f}"


def _image_passes(row: Row, table: Table) -> str:
    return NONE if row.image_passes is None else f"{row.image_passes:,}".replace(",", " ")


def _minutes(row: Row, table: Table) -> str:
    return NONE if row.minutes is None else f"{row.minutes:.1f}"


def _published(row: Row, table: Table) -> dict[str, str]:
    return published_fields([value for value in table.published if value.method == row.name])


COLUMNS = (
    Column("method", lambda row, table: row.name),
    Column("place", outputs=TEXT, title="#", text=place_text, main=True),
    Column("title", outputs=ALL, title="Method", text=lambda row, table: row.title, main=True, words=True),
    Column("complete", dtype="boolean"),
    Column("n_seeds", lambda row, table: len(row.by_seed), "Int64", FLAT),
    Column(
        "seeds",
        lambda row, table: " ".join(map(str, sorted(row.by_seed))),
        outputs=TEXT | FLAT,
        title="Seeds",
        text=lambda row, table: seeds(row),
        main=True,
        dropped=74,
    ),
    Column("headline_by_seed", lambda row, table: {str(seed): x for seed, x in row.by_seed.items()}, outputs=JSON),
    *map(_metric, shown_in("tables")),
    Column("interval", outputs=TEXT, title="95 % interval", text=_interval, main=True, dropped=72),
    Column("recall", lambda row, table: row.recalls, outputs=JSON),
    Column("gain_over", lambda row, table: table.baseline if row.gain else None, outputs=FLAT),
    Column("gain", None, PAIRED, ALL, title="Gain", text=_gain, main=True),
    Column(
        "gain_p", None, "Float64", ALL, title="p", text=lambda row, table: p_text(row.gain_p), main=True, dropped=80
    ),
    Column("ties", outputs=TEXT, title="Tied with", text=tied_text, main=True, words=True),
    Column("groups", lambda row, table: " ".join(map(str, row.groups)) or None, outputs=FLAT),
    Column("groups", lambda row, table: list(row.groups), outputs=JSON),
    Column("tied_with", lambda row, table: None if row.tied_with is None else ", ".join(row.tied_with), outputs=FLAT),
    Column("tied_with", lambda row, table: None if row.tied_with is None else list(row.tied_with), outputs=JSON),
    Column(
        "trust",
        lambda row, table: row.trust.level,
        outputs=ALL,
        title="Trust",
        main=True,
        text=lambda row, table: trust_text(row),
        words=True,
        dropped=15,
    ),
    Column("optimism", None, SPREAD, ALL, title="Optimism", text=_optimism, dropped=60),
    Column("image_passes", None, "Int64", ALL, title="Image passes", text=_image_passes, dropped=20),
    Column(
        "minutes_median", lambda row, table: row.minutes, "Float64", ALL, title="Minutes", text=_minutes, dropped=30
    ),
    Column("trust_cells", lambda row, table: row.trust.levels, outputs=JSON),
    Column(
        "private_score",
        lambda row, table: row.trust.private_score,
        "Float64",
        ALL,
        title="Private render",
        text=lambda row, table: private_text(BY_KEY[table.key.headline], row),
        dropped=17,
    ),
    Column("disputes", lambda row, table: " ".join(one.link for one in row.trust.disputes) or None, outputs=FLAT),
    Column(
        "disputes",
        lambda row, table: [{"reason": one.reason, "link": one.link} for one in row.trust.disputes],
        outputs=JSON,
    ),
    Column(
        "labels",
        lambda row, table: row.labels[1],
        "Int64",
        TEXT | FLAT,
        title="Labels",
        text=lambda row, table: "–".join(map(str, dict.fromkeys(row.labels))),
        dropped=10,
    ),
    Column("labels", lambda row, table: list(row.labels), outputs=JSON),
    Column("published", _published, PUBLISHED, TEXT | FLAT, title="Published", text=published_text, main=True),
)


def text_columns(table: Table) -> tuple[Column, ...]:
    """The columns for people; those of published values and private scores only if some row has one."""
    some = {
        "published": bool(table.published),
        "private_score": any(row.trust.private_score is not None for row in table.rows),
    }
    return tuple(column for column in COLUMNS if "text" in column.outputs and some.get(column.key, True))


def main_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the first table of a page, always with the metric that orders its rows."""
    return tuple(column for column in text_columns(table) if column.main or column.key == table.key.headline)


def further_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the second table of a page, which begins with the method too."""
    first = main_columns(table)
    return tuple(column for column in text_columns(table) if column.key == "title" or column not in first)


def flat_columns() -> Iterator[Column]:
    """The columns of flat files."""
    return (column for column in COLUMNS if "flat" in column.outputs)


def json_row(row: Row, table: Table) -> dict[str, Any]:
    """A row as JSON."""
    found: dict[str, Any] = {}
    for column in COLUMNS:
        if "json" in column.outputs:
            place = found.setdefault(column.within, {}) if column.within else found
            value = column.of(row, table)
            if value is not None or not column.within:
                place[column.key] = value
    return found
