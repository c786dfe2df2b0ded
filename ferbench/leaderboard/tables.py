"""Turn a frame of cells into tables: which rows share a table, and in which order."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, median_low

import numpy as np
import pandas as pd

from ferbench.contract.protocol import Headline
from ferbench.leaderboard.differences import Cell, Standing, recalls, scores_of, standing
from ferbench.leaderboard.keys import Key, table_key
from ferbench.leaderboard.notes import (
    Rows,
    baseline_notes,
    ceiling_notes,
    cell_notes,
    code_notes,
    cross_notes,
    difference_notes,
    fold_notes,
    label_notes,
    missing_rows,
    not_standard,
    row_notes,
    smoothing_notes,
    standard_notes,
    tuning_notes,
)
from ferbench.leaderboard.reported import Published, ReportedBlock
from ferbench.leaderboard.statistics import Paired, Recall, Spread, spread, within
from ferbench.leaderboard.trust import RowTrust, row_trust
from ferbench.records.answers import AnswerBook
from ferbench.records.cell import FULL
from ferbench.records.frame import rows_of
from ferbench.records.metrics import BY_KEY, METRICS
from ferbench.records.rows import BASELINES


@dataclass(frozen=True)
class Row:
    """One method in a table. An incomplete row has only its headline by seed, and no means.

    Optimism and minutes belong to a training; a row that is tested on another dataset has none. `gain_p` is adjusted by
    Holm over the gains of the table. `tied_with` names the rows that do not differ significantly from this one, and
    `groups` are the groups of tied rows that it belongs to, numbered from the best; both need five seeds.
    """

    name: str
    title: str
    by_seed: Mapping[int, float]
    most_seeds: int
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    recalls: Mapping[str, Recall | None] = field(default_factory=dict)
    optimism: Spread | None = None
    gain: Paired | None = None
    gain_p: float | None = None
    groups: tuple[int, ...] = ()
    tied_with: tuple[str, ...] | None = None
    image_passes: int | None = None
    minutes: float | None = None
    labels: tuple[int, int] = (0, 0)
    trust: RowTrust = field(default_factory=RowTrust)

    @property
    def complete(self) -> bool:
        """Whether no row of the table has more seeds; with folds, whether the row has one seed for every fold."""
        return len(self.by_seed) == self.most_seeds


@dataclass(frozen=True)
class Table:
    """Rows that may be compared, the best first, and what a reader must know about them.

    `class_counts` are the test images of each class, with folds those of all tested folds. `seeds` is the number of
    seeds of a complete row. `smallest_difference` is the true difference of the headline that a single comparison of
    two rows detects with a power of 80 %, the median over the table's comparisons; None with fewer than two seeds.
    """

    key: Key
    rows: tuple[Row, ...]
    class_counts: tuple[int, ...]
    baseline: str | None
    seeds: int
    smallest_difference: float | None
    missing: tuple[str, ...]
    """Titles of missing mandatory rows."""
    notes: tuple[str, ...]
    published: tuple[Published, ...] = ()

    @property
    def blocks(self) -> tuple[ReportedBlock, ...]:
        """The origins of the published values of its rows, in the order of their footnotes."""
        return tuple(dict.fromkeys(value.block for value in self.published))


@dataclass(frozen=True)
class Failure:
    """A cell without a result."""

    folder: str
    status: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """The number of records that are in no table because they are not standard, and the reason."""

    reason: str
    records: int


@dataclass(frozen=True)
class Board:
    """The content of a leaderboard."""

    tables: tuple[Table, ...]
    failures: tuple[Failure, ...]
    records: int
    """The number of valid records, shown or not."""
    left_out: tuple[LeftOut, ...] = ()
    broken: int = 0
    """The number of invalid records, which are not shown."""
    not_reproduced: tuple[Published, ...] = ()


def make_board(frame: pd.DataFrame, include_nonstandard: bool = False, published: Sequence[Published] = ()) -> Board:
    """Make the board; the result depends only on the cells (in any order), their predictions and published values."""
    admitted = frame if include_nonstandard else frame[frame["standard"]]
    admitted = admitted.sort_values("folder", kind="stable")
    scored = admitted[admitted["status"] == "ok"]
    groups = grouped(scored)
    keys = sorted(groups, key=lambda key: (not key.standard, key.test_on is not None, key.order()))
    failures = tuple(
        Failure(row["folder"], row["status"], row["error"] or "no reason recorded")
        for row in rows_of(admitted[admitted["status"] != "ok"])
    )
    # Published values are added only here, so that no computed number depends on them.
    book = AnswerBook()
    made = tuple(_beside_published(_table(key, groups, book), published) for key in keys)
    shown = {value for table in made for value in table.published}
    rest = tuple(value for value in published if value not in shown)
    left_out = () if include_nonstandard else tuple(_left_out(frame[~frame["standard"]]))
    broken = len(frame.attrs.get("problems", ()))
    return Board(made, failures, len(frame), left_out, broken, rest)


def grouped(cells: pd.DataFrame) -> dict[Key, Rows]:
    """Cells with a result by table and row."""
    tables = pd.Series([table_key(cell) for cell in rows_of(cells)], cells.index, dtype=object)
    return {
        key: {str(name): own for name, own in group.groupby("row", sort=False)}
        for key, group in cells.groupby(tables, sort=False)
    }


def better_baseline(rows: Rows, headline: Headline) -> str | None:
    """The supervised row with the higher mean headline, over the shared seeds if any; None if there is none."""
    present = {name: rows[name] for name in BASELINES if name in rows}
    shared = set.intersection(*(set(cells["seed"]) for cells in present.values())) if present else set()
    if shared:
        present = {name: cells[cells["seed"].isin(shared)] for name, cells in present.items()}
    return max(present, key=lambda name: spread(present[name][headline].tolist()).mean, default=None)


def _table(key: Key, groups: Mapping[Key, Rows], book: AnswerBook) -> Table:
    rows = groups[key]
    cells = pd.concat(rows.values())
    most = key.folds or max(map(len, rows.values()))
    # Supervised rows use no pool, so a table with a pool takes them from the table without one.
    supervised = {**groups.get(replace(key, pool=None), {}), **rows}
    baseline = better_baseline(supervised, key.headline)
    full = groups.get(replace(key, budget=FULL, pool=None), {})
    has_ceiling = _has_ceiling(key, cells)
    tests = cells.drop_duplicates("seed", keep="last") if key.folds else cells.tail(1)
    counts = np.sum([np.sum(json.loads(confusion), axis=1) for confusion in tests["confusion"]], axis=0).tolist()
    made, found = _rows(key, rows, most, baseline, supervised, dict(zip(key.class_names, counts, strict=True)), book)
    return Table(
        key=key,
        rows=made,
        class_counts=tuple(counts),
        baseline=baseline,
        seeds=most,
        smallest_difference=found.smallest_difference,
        missing=missing_rows(supervised, key.init, full if has_ceiling else None),
        notes=(
            *standard_notes(key.standard, rows),
            *baseline_notes(supervised, baseline, key.pool is not None, key.init),
            *(ceiling_notes(full, key.headline) if has_ceiling else ()),
            *difference_notes(found, {row.name: row.title for row in made if row.complete}, key.headline),
            *label_notes(cells),
            *smoothing_notes(key.test_on, cells),
            *fold_notes(key.folds),
            *cross_notes(key.test_on, cells),
            *row_notes(rows, most, key.headline),
            *(f"{row.title} is disputed: {one.reason} ({one.link})" for row in made for one in row.trust.disputes),
            *tuning_notes(rows),
            *cell_notes(cells),
            *code_notes(rows),
        ),
    )


def _has_ceiling(key: Key, cells: pd.DataFrame) -> bool:
    """Whether full supervision is mandatory: the table has fewer labels, and its protocol has a budget of all."""
    if not key.standard or (key.budget == FULL and key.pool is None):
        return False
    return "has_full_budget" not in cells or bool(cells["has_full_budget"].all())


def _rows(
    key: Key,
    rows: Rows,
    most: int,
    baseline: str | None,
    supervised: Rows,
    images: Mapping[str, int],
    book: AnswerBook,
) -> tuple[tuple[Row, ...], Standing]:
    """The rows, best first and incomplete ones last, and the comparisons of the complete ones."""
    metric = BY_KEY[key.headline]
    own = {name: rows_of(cells) for name, cells in rows.items()}
    over = rows_of(supervised[baseline]) if baseline else None
    scores = {name: scores_of(cells, metric, book) for name, cells in own.items() if len(cells) == most}
    best_first = sorted(scores, key=lambda name: (-scores[name].spread().mean, name))
    found = standing(
        {name: scores[name] for name in best_first}, baseline, None if over is None else scores_of(over, metric, book)
    )
    made = []
    for name in best_first:
        apart = None if name == baseline else over
        made.append(
            replace(
                _row(rows[name], key, most),
                metrics=_metrics(own[name], book),
                recalls=recalls(own[name], apart, images, book),
                gain=found.gains.get(name),
                gain_p=found.gain_p.get(name),
                groups=found.ties.groups[name] if found.ties else (),
                tied_with=found.ties.tied_with[name] if found.ties else None,
            )
        )
    made += [_row(rows[name], key, most) for name in sorted(rows.keys() - scores.keys())]
    return tuple(made), found


def _row(cells: pd.DataFrame, key: Key, most: int) -> Row:
    """A row without the numbers that need predictions or other rows."""
    scores = cells[key.headline]
    row = Row(
        name=cells["row"].iloc[0],
        title=cells["title"].iloc[0],
        by_seed=dict(zip(cells["seed"].tolist(), scores.tolist(), strict=True)),
        most_seeds=most,
        labels=(int(cells["labels_seen"].min()), int(cells["labels_seen"].max())),
        trust=row_trust(cells),
    )
    if not row.complete:
        return row
    minutes = cells["wall_seconds"][cells["test_on"].isna()].tolist()
    optimism = (cells[f"oracle_{key.headline}"] - scores).dropna().tolist()
    return replace(
        row,
        optimism=spread(optimism) if optimism else None,
        image_passes=median_low(cells["image_passes"].tolist()),
        minutes=median(minutes) / 60 if minutes else None,
    )


def _metrics(cells: Sequence[Cell], book: AnswerBook) -> dict[str, Spread]:
    """The mean of each metric that all cells have, its interval clipped to the metric's range."""
    scores = {metric: scores_of(cells, metric, book) for metric in METRICS}
    return {
        metric.key: within(each.spread(), metric.low, metric.high)
        for metric, each in scores.items()
        if len(each.values) == len(cells)
    }


def _left_out(cells: pd.DataFrame) -> Iterator[LeftOut]:
    """Count the records of a frame by the reason why they are not standard."""
    reasons = pd.Series([not_standard(cell) for cell in rows_of(cells)], dtype=object)
    for reason, number in sorted(reasons.value_counts().items()):
        yield LeftOut(str(reason), int(number))


def _beside_published(table: Table, published: Iterable[Published]) -> Table:
    """The table with the published values of its rows for the same dataset, classes, labels and test set."""
    key = table.key
    if not key.standard or key.pool is not None or key.test_on is not None:
        return table
    place, sizes = (key.dataset, key.classes, key.budget), (None, sum(table.class_counts))
    methods = {row.name for row in table.rows}

    def same(value: Published) -> bool:
        block = value.block
        there = (block.dataset, block.classes, value.budget) == place and block.test_images in sizes
        return there and value.method in methods

    return replace(table, published=tuple(filter(same, published)))
