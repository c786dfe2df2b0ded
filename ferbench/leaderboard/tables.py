"""From a frame of cells to tables: which rows stand together, and in which order."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, median_low

import numpy as np
import pandas as pd

from ferbench.contract.protocol import Headline
from ferbench.leaderboard.keys import Key, table_key
from ferbench.leaderboard.notes import (
    Rows,
    baseline_notes,
    ceiling_notes,
    cell_notes,
    code_notes,
    cross_notes,
    fold_notes,
    label_notes,
    row_notes,
    smoothing_notes,
    tuning_notes,
)
from ferbench.leaderboard.reported import Published, ReportedBlock
from ferbench.leaderboard.statistics import Paired, Spread, paired, spread
from ferbench.leaderboard.trust import RowTrust, row_trust
from ferbench.records.cell import Budget
from ferbench.records.frame import RECALL, rows_of
from ferbench.records.metrics import METRICS
from ferbench.records.rows import BASELINES

FULL = Budget(ratio="1")


@dataclass(frozen=True)
class Row:
    """One method in a table. An incomplete row has its headline by seed, and no mean of anything.

    Optimism and minutes are those of a training; a row that is tested on another set has none.
    """

    name: str
    title: str
    by_seed: Mapping[int, float]
    most_seeds: int
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    recalls: Mapping[str, Spread | None] = field(default_factory=dict)
    optimism: Spread | None = None
    gain: Paired | None = None
    image_passes: int | None = None
    minutes: float | None = None
    labels: tuple[int, int] = (0, 0)
    trust: RowTrust = field(default_factory=RowTrust)

    @property
    def complete(self) -> bool:
        """Whether the row has as many seeds as any of its table, or one for every fold."""
        return len(self.by_seed) == self.most_seeds


@dataclass(frozen=True)
class Table:
    """Rows that may be compared, the best first, and what a reader must know about them.

    `class_counts` are the test images of each class, of all folds that have been tested where there are folds.
    """

    key: Key
    rows: tuple[Row, ...]
    class_counts: tuple[int, ...]
    baseline: str | None
    notes: tuple[str, ...]
    published: tuple[Published, ...] = ()

    @property
    def blocks(self) -> tuple[ReportedBlock, ...]:
        """Where the published values of its rows come from, in the order of their footnotes."""
        return tuple(dict.fromkeys(value.block for value in self.published))


@dataclass(frozen=True)
class Failure:
    """A cell without a result."""

    folder: str
    status: str
    reason: str


@dataclass(frozen=True)
class Board:
    """Everything that a leaderboard shows."""

    tables: tuple[Table, ...]
    failures: tuple[Failure, ...]
    records: int
    not_reproduced: tuple[Published, ...] = ()


def make_board(frame: pd.DataFrame, include_nonstandard: bool = False, published: Sequence[Published] = ()) -> Board:
    """A pure function of the cells of a frame, whatever their order, and of what papers print."""
    admitted = frame if include_nonstandard else frame[frame["standard"]]
    admitted = admitted.sort_values("folder", kind="stable")
    scored = admitted[admitted["status"] == "ok"]
    groups = grouped(scored)
    keys = sorted(groups, key=lambda key: (not key.standard, key.test_on is not None, key.order()))
    failures = tuple(
        Failure(row["folder"], row["status"], row["error"] or "no reason recorded")
        for row in rows_of(admitted[admitted["status"] != "ok"])
    )
    # Only here do published values come in: everything that is computed is computed without them.
    made = tuple(_beside_published(_table(key, groups), published) for key in keys)
    shown = {value for table in made for value in table.published}
    rest = tuple(value for value in published if value not in shown)
    return Board(made, failures, len(admitted), rest)


def grouped(cells: pd.DataFrame) -> dict[Key, Rows]:
    """Cells with a result by table and row."""
    tables = pd.Series([table_key(cell) for cell in rows_of(cells)], cells.index, dtype=object)
    return {
        key: {str(name): own for name, own in group.groupby("row", sort=False)}
        for key, group in cells.groupby(tables, sort=False)
    }


def better_baseline(rows: Rows, headline: Headline) -> str | None:
    """The supervised row with the higher mean headline, over the seeds that both have where they share some."""
    present = {name: rows[name] for name in BASELINES if name in rows}
    shared = set.intersection(*(set(cells["seed"]) for cells in present.values())) if present else set()
    if shared:
        present = {name: cells[cells["seed"].isin(shared)] for name, cells in present.items()}
    return max(present, key=lambda name: spread(present[name][headline].tolist()).mean, default=None)


def paired_gain(cells: pd.DataFrame, baseline: pd.DataFrame, headline: Headline) -> Paired | None:
    """Headline minus that of the baseline over the seeds of both; only where they saw the same labeled images."""
    pair = ["seed", "fingerprint_labeled"]
    both = cells[[*pair, headline]].merge(baseline[[*pair, headline]], on=pair, suffixes=("", "_baseline"))
    return paired((both[headline] - both[f"{headline}_baseline"]).tolist()) if len(both) else None


def _table(key: Key, groups: Mapping[Key, Rows]) -> Table:
    rows = groups[key]
    cells = pd.concat(rows.values())
    most = key.folds or max(map(len, rows.values()))
    # supervised rows use no pool, so a table with a pool takes them from the table without one
    supervised = {**groups.get(replace(key, pool=None), {}), **rows}
    baseline = better_baseline(supervised, key.headline)
    made = []
    for name, own in rows.items():
        gain = paired_gain(own, supervised[baseline], key.headline) if baseline and name != baseline else None
        made.append(_row(own, key, most, gain))
    made.sort(key=lambda row: (not row.complete, -row.metrics[key.headline].mean if row.complete else 0.0, row.name))
    full = groups.get(replace(key, budget=FULL, pool=None), {})
    has_ceiling = key.standard and not (key.budget == FULL and key.pool is None)
    tests = cells.drop_duplicates("seed", keep="last") if key.folds else cells.tail(1)
    counts = np.sum([np.sum(json.loads(confusion), axis=1) for confusion in tests["confusion"]], axis=0)
    return Table(
        key=key,
        rows=tuple(made),
        class_counts=tuple(counts.tolist()),
        baseline=baseline,
        notes=(
            *baseline_notes(supervised, baseline, key.pool is not None, key.init),
            *(ceiling_notes(full, key.headline) if has_ceiling else ()),
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


def _beside_published(table: Table, published: Iterable[Published]) -> Table:
    """The table with what papers print for its rows on the same dataset, classes, labels and test set."""
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


def _row(cells: pd.DataFrame, key: Key, most: int, gain: Paired | None) -> Row:
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
    return replace(
        row,
        # a metric that some cell lacks has no mean, but some folds may have no image of a class
        metrics={
            metric.key: spread(cells[metric.key].tolist()) for metric in METRICS if cells[metric.key].notna().all()
        },
        recalls={name: _spread(cells[f"{RECALL}{name}"]) for name in key.class_names},
        optimism=_spread(cells[f"oracle_{key.headline}"] - scores),
        gain=gain,
        image_passes=median_low(cells["image_passes"].tolist()),
        minutes=median(minutes) / 60 if minutes else None,
    )


def _spread(values: pd.Series) -> Spread | None:
    there = values.dropna().tolist()
    return spread(there) if there else None
