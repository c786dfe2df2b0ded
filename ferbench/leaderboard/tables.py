"""Records to tables: which rows stand together, in which order, and what is said below them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, median_low

from ferbench.leaderboard.keys import BASELINES, TITLES, Key, row_name, row_title, table_key
from ferbench.leaderboard.statistics import Paired, Spread, paired, spread
from ferbench.records.cell import Budget, Cell, canonical_json
from ferbench.records.schema import Record, Result

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "ece")
FULL = Budget(ratio="1")


@dataclass(frozen=True)
class Row:
    """One method in a table. An incomplete row has its accuracies by seed, and no mean of anything."""

    name: str
    title: str
    accuracies: Mapping[int, float]
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
        """Whether the row has as many seeds as any of its table."""
        return len(self.accuracies) == self.most_seeds


@dataclass(frozen=True)
class Table:
    """Rows that may be compared, the best first, and what a reader must know about them."""

    key: Key
    rows: tuple[Row, ...]
    class_counts: tuple[int, ...]
    baseline: str | None
    notes: tuple[str, ...]


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


def make_board(records: Iterable[Record], include_nonstandard: bool = False) -> Board:
    """A pure function of the records, whatever their order."""
    admitted = [record for record in records if record.standard or include_nonstandard]
    groups: dict[Key, list[tuple[Cell, Record, Result]]] = defaultdict(list)
    for record in sorted(admitted, key=lambda record: str(record.cell.folder())):
        if record.result is not None:
            groups[table_key(record.cell, record.result)].append((record.cell, record, record.result))
    tables = [_table(key, entries) for key, entries in groups.items()]
    tables.sort(key=lambda table: (not table.key.standard, table.key.order()))
    tables = [_with_full_supervision(table, tables) for table in tables]
    failures = sorted(
        (
            Failure(str(record.cell.folder()), record.status, record.error.line if record.error else record.status)
            for record in admitted
            if record.result is None
        ),
        key=lambda failure: failure.folder,
    )
    return Board(tuple(tables), tuple(failures), len(admitted))


def better_baseline(rows: Mapping[str, Mapping[int, float]]) -> str | None:
    """The supervised row with the higher mean accuracy, over the seeds that both have where they share some."""
    present = [name for name in BASELINES if name in rows]
    if len(present) < 2:
        return present[0] if present else None
    seeds = set(rows[present[0]]) & set(rows[present[1]])
    return max(present, key=lambda name: spread([rows[name][seed] for seed in sorted(seeds or rows[name])]).mean)


def _table(key: Key, entries: Sequence[tuple[Cell, Record, Result]]) -> Table:
    by_row: dict[str, list[tuple[Cell, Record, Result]]] = defaultdict(list)
    for entry in entries:
        by_row[row_name(entry[0])].append(entry)
    accuracies = {
        name: {cell.seed: result.metrics.accuracy for cell, _, result in group} for name, group in by_row.items()
    }
    splits = {
        name: {cell.seed: result.fingerprints.get("labeled", "") for cell, _, result in group}
        for name, group in by_row.items()
    }
    most = max(map(len, accuracies.values()))
    baseline = better_baseline(accuracies)
    rows = []
    for name, group in by_row.items():
        gain = None
        if baseline and name != baseline and len(group) == most:
            common = [seed for seed in splits[name] if splits[baseline].get(seed) == splits[name][seed]]
            differences = [accuracies[name][seed] - accuracies[baseline][seed] for seed in common]
            gain = paired(differences) if differences else None
        rows.append(_row(name, group, accuracies[name], most, gain))
    rows.sort(key=lambda row: (not row.complete, -row.metrics["accuracy"].mean if row.complete else 0.0, row.name))
    return Table(
        key=key,
        rows=tuple(rows),
        class_counts=tuple(sum(counts) for counts in entries[0][2].confusion),
        baseline=baseline,
        notes=tuple(_notes(rows, baseline, by_row, splits)),
    )


def _row(
    name: str,
    group: Sequence[tuple[Cell, Record, Result]],
    accuracies: Mapping[int, float],
    most: int,
    gain: Paired | None,
) -> Row:
    results = [result for _, _, result in group]
    title = row_title(group[0][0])
    labels = (min(result.n_labeled for result in results), max(result.n_labeled for result in results))
    if len(results) < most:
        return Row(name, title, accuracies, most, labels=labels)
    recalls = {}
    for class_name in results[0].class_names:
        values = [result.metrics.per_class_recall[class_name] for result in results]
        recalls[class_name] = spread([value for value in values if value is not None]) if None not in values else None
    return Row(
        name=name,
        title=title,
        accuracies=accuracies,
        most_seeds=most,
        metrics={metric: spread([getattr(result.metrics, metric) for result in results]) for metric in METRICS},
        recalls=recalls,
        optimism=spread([result.oracle.accuracy - result.metrics.accuracy for result in results]),
        gain=gain,
        image_passes=median_low(result.image_passes for result in results),
        minutes=median(record.measured.wall_seconds for _, record, _ in group) / 60,
        labels=labels,
    )


def _notes(
    rows: Sequence[Row],
    baseline: str | None,
    by_row: Mapping[str, Sequence[tuple[Cell, Record, Result]]],
    splits: Mapping[str, Mapping[int, str]],
) -> Iterable[str]:
    missing = [TITLES[name] for name in BASELINES if name not in by_row]
    if missing:
        gain = f"gain is over {TITLES[baseline]} alone" if baseline else "no gain can be given"
        yield f"Missing mandatory row{'s' if len(missing) > 1 else ''}: {' and '.join(missing)}; {gain}."
    elif baseline:
        yield f"Gain is over {TITLES[baseline]}, the better supervised row."
    for row in rows:
        if not row.complete:
            seeds = ", ".join(f"seed {seed}: {100 * row.accuracies[seed]:.1f} %" for seed in sorted(row.accuracies))
            yield f"{row.title} is incomplete, {len(row.accuracies)} of {row.most_seeds} seeds ({seeds})."
    for seed in sorted({seed for by_seed in splits.values() for seed in by_seed}):
        if len({by_seed[seed] for by_seed in splits.values() if seed in by_seed}) > 1:
            yield f"The labeled images of seed {seed} differ between rows; such pairs do not enter a gain."
    for row in rows:
        group = by_row[row.name]
        if len({record.plugin.source_hash for _, record, _ in group}) > 1:
            yield f"{row.title}: its seeds ran different versions of the method's code."
        if len({canonical_json(record.config.model_dump(mode="json")) for _, record, _ in group}) > 1:
            yield f"{row.title}: its seeds ran different configurations."
    devices = sorted({record.measured.device or "unknown" for group in by_row.values() for _, record, _ in group})
    yield f"Minutes were measured on {', '.join(devices)}{'; they do not compare' if len(devices) > 1 else ''}."


def _with_full_supervision(table: Table, tables: Sequence[Table]) -> Table:
    """Add what all labels give, the ceiling that a reader needs beside every budget."""
    if table.key.budget == FULL or not table.key.standard:
        return table
    notes = ["Missing mandatory row: full supervision (budget ratio-1)."]
    for other in tables:
        best = [row for row in other.rows if row.complete and row.name in BASELINES]
        if best and other.key == replace(table.key, budget=FULL):
            mean = best[0].metrics["accuracy"].mean
            notes = [f"Full supervision: {100 * mean:.1f} % accuracy ({best[0].title}, all labels)."]
    return replace(table, notes=(*table.notes[:1], *notes, *table.notes[1:]))
