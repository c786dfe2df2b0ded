"""Records to tables: which rows stand together, and in which order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, median_low

from ferbench.leaderboard.keys import BASELINES, Key, row_name, row_title, table_key
from ferbench.leaderboard.notes import Group, Scored, baseline_notes, ceiling_notes, cross_notes, fold_notes, row_notes
from ferbench.leaderboard.reported import Published, ReportedBlock
from ferbench.leaderboard.statistics import Paired, Spread, paired, spread
from ferbench.records.cell import Budget
from ferbench.records.metrics import METRICS
from ferbench.records.schema import Record

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


def make_board(
    records: Iterable[Record], include_nonstandard: bool = False, published: Sequence[Published] = ()
) -> Board:
    """A pure function of the records, whatever their order, and of what papers print."""
    admitted = sorted(
        (record for record in records if record.standard or include_nonstandard),
        key=lambda record: str(record.cell.folder()),
    )
    groups: dict[Key, Group] = {}
    for record in admitted:
        if record.result is not None:
            group = groups.setdefault(table_key(record, record.result), {})
            group.setdefault(row_name(record.cell), {})[record.cell.seed] = Scored(record, record.result)
    keys = sorted(groups, key=lambda key: (not key.standard, key.test_on is not None, key.order()))
    failures = [
        Failure(str(record.cell.folder()), record.status, record.error.line if record.error else "no reason recorded")
        for record in admitted
        if record.result is None
    ]
    # Only here do published values come in: everything that is computed is computed without them.
    tables = tuple(_beside_published(_table(key, groups), published) for key in keys)
    shown = {value for table in tables for value in table.published}
    rest = tuple(value for value in published if value not in shown)
    return Board(tables, tuple(failures), len(admitted), rest)


def better_baseline(group: Group) -> str | None:
    """The supervised row with the higher mean headline, over the seeds that both have where they share some."""
    present = [name for name in BASELINES if name in group]
    if len(present) < 2:
        return present[0] if present else None
    shared = set(group[present[0]]) & set(group[present[1]])
    return max(present, key=lambda name: spread([group[name][seed].headline for seed in shared or group[name]]).mean)


def paired_gain(row: Mapping[int, Scored], baseline: Mapping[int, Scored]) -> Paired | None:
    """Headline minus that of the baseline over the seeds of both; only where they saw the same labeled images."""
    common = [seed for seed in row if seed in baseline and row[seed].labeled == baseline[seed].labeled]
    return paired([row[seed].headline - baseline[seed].headline for seed in common]) if common else None


def _table(key: Key, groups: Mapping[Key, Group]) -> Table:
    group = groups[key]
    most = key.folds or max(map(len, group.values()))
    # supervised rows use no pool, so a table with a pool takes them from the table without one
    supervised = {**groups.get(replace(key, pool=None), {}), **group}
    baseline = better_baseline(supervised)
    rows = []
    for name, row in group.items():
        gain = paired_gain(row, supervised[baseline]) if baseline and name != baseline else None
        rows.append(_row(name, list(row.values()), most, gain))
    rows.sort(key=lambda row: (not row.complete, -row.metrics[key.headline].mean if row.complete else 0.0, row.name))
    full = replace(key, budget=FULL, pool=None)
    return Table(
        key=key,
        rows=tuple(rows),
        class_counts=_class_counts(key, group),
        baseline=baseline,
        notes=(
            *baseline_notes(supervised, baseline, key.pool is not None),
            *(ceiling_notes(groups.get(full), key.headline) if _has_ceiling(key) else ()),
            *fold_notes(key.folds),
            *cross_notes(key.test_on, group),
            *row_notes(group, most),
        ),
    )


def _class_counts(key: Key, group: Group) -> tuple[int, ...]:
    tests = {item.record.cell.seed if key.folds else 0: item.result for row in group.values() for item in row.values()}
    return tuple(sum(sum(result.confusion[i]) for result in tests.values()) for i in range(len(key.class_names)))


def _beside_published(table: Table, published: Iterable[Published]) -> Table:
    """The table with what papers print for its rows on the same dataset, classes, labels and test set."""
    key = table.key
    if not key.standard or key.pool is not None or key.test_on is not None:
        return table
    place = (key.dataset, key.classes, key.budget)
    sizes = (None, sum(table.class_counts))
    methods = {row.name for row in table.rows}
    same = (
        value
        for value in published
        if (value.block.dataset, value.block.classes, value.budget) == place
        and value.block.test_images in sizes
        and value.method in methods
    )
    return replace(table, published=tuple(same))


def _has_ceiling(key: Key) -> bool:
    return key.standard and not (key.budget == FULL and key.pool is None)


def _row(name: str, scored: Sequence[Scored], most: int, gain: Paired | None) -> Row:
    results = [item.result for item in scored]
    row = Row(
        name=name,
        title=row_title(scored[0].record),
        by_seed={item.record.cell.seed: item.headline for item in scored},
        most_seeds=most,
        labels=(min(result.labels_seen for result in results), max(result.labels_seen for result in results)),
    )
    if not row.complete:
        return row
    recalls = {}
    for class_name in results[0].class_names:
        values = [value for result in results if (value := result.metrics.per_class_recall[class_name]) is not None]
        recalls[class_name] = spread(values) if values else None  # some folds may have no image of a class
    oracles = [item.oracle - item.headline for item in scored if item.oracle is not None]
    trained = [item.record.measured.wall_seconds for item in scored if item.record.cell.test_on is None]
    return replace(
        row,
        metrics=_spreads([result.scores() for result in results]),
        recalls=recalls,
        optimism=spread(oracles) if oracles else None,
        gain=gain,
        image_passes=median_low(result.image_passes for result in results),
        minutes=median(trained) / 60 if trained else None,
    )


def _spreads(scores: Sequence[Mapping[str, float | None]]) -> dict[str, Spread]:
    """Of each metric that every seed has."""
    found = {}
    for metric in METRICS:
        values = [value for score in scores if (value := score[metric.key]) is not None]
        if len(values) == len(scores):
            found[metric.key] = spread(values)
    return found
