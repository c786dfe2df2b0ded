"""What a reader must know about a table and cannot see in it; stands below it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ferbench.contract.protocol import Headline
from ferbench.leaderboard.keys import BASELINES, TITLES, row_title
from ferbench.leaderboard.statistics import spread
from ferbench.records.cell import canonical_json
from ferbench.records.metrics import BY_KEY
from ferbench.records.schema import Record, Result


@dataclass(frozen=True, eq=False)
class Scored:
    """A record that has a result."""

    record: Record
    result: Result

    @property
    def headline(self) -> float:
        """What rows are ordered by: accuracy, or what the protocol names."""
        return float(getattr(self.result.metrics, self.record.headline))

    @property
    def oracle(self) -> float | None:
        """The headline of the best evaluation on the test set; None where another set is tested."""
        return None if self.result.oracle is None else float(getattr(self.result.oracle, self.record.headline))

    @property
    def labeled(self) -> str:
        """Which images were labeled."""
        return self.result.fingerprints.labeled


Group = dict[str, dict[int, Scored]]
"""The rows of a table: name, then seed."""


def baseline_notes(supervised: Group, baseline: str | None, has_pool: bool) -> Iterator[str]:
    """What gains are over, and which mandatory rows are missing."""
    missing = [TITLES[name] for name in BASELINES if name not in supervised]
    where = ", of the table without a pool" if has_pool else ""
    if missing:
        gain = f"gain is over {TITLES[baseline]} alone{where}" if baseline else "no gain can be given"
        yield f"Missing mandatory row{'s' if len(missing) > 1 else ''}: {' and '.join(missing)}; {gain}."
    elif baseline:
        yield f"Gain is over {TITLES[baseline]}, the better supervised row{where}."


def ceiling_notes(full: Group | None, headline: Headline) -> Iterator[str]:
    """What all labels give: the ceiling of every budget."""
    rows = {name: row for name, row in (full or {}).items() if name in BASELINES}
    most = max(map(len, rows.values()), default=0)
    means = {name: spread([item.headline for item in row.values()]) for name, row in rows.items() if len(row) == most}
    if not means:
        yield "Missing mandatory row: full supervision (budget ratio-1)."
        return
    best = max(means, key=lambda name: means[name].mean)
    yield (
        f"Full supervision: {100 * means[best].mean:.1f} % {BY_KEY[headline].title} "
        f"({TITLES[best]}, all labels, {most} seed{'' if most == 1 else 's'})."
    )


def fold_notes(folds: int | None) -> Iterator[str]:
    """What seeds are where each tests a fold."""
    if folds:
        yield (
            f"Seed k tests fold k of {folds} folds of subjects, so that every subject is tested once. Folds share most "
            "of their training images: an interval over them is narrower than one over other subjects would be. The "
            "recall of a class is over the folds that have images of it."
        )


def cross_notes(test_on: str | None, group: Group) -> Iterator[str]:
    """What the numbers of a table are of whose models were trained on another set."""
    if test_on is None:
        return
    yield (
        f"Tested are the images of {test_on} whose class was trained; logits of other classes are left out. Image "
        "passes are those of the training, whose time and own test images stand in another table."
    )
    left_out = max(item.result.n_test_left_out or 0 for row in group.values() for item in row.values())
    if left_out:
        yield f"Test images left out since they look like training images: {left_out}."


def row_notes(group: Group, most: int) -> Iterator[str]:
    """Incomplete rows, rows whose seeds ran different code or settings, and what the times were measured on."""
    for row in group.values():
        title = row_title(next(iter(row.values())).record)
        if len(row) < most:
            seeds = ", ".join(f"seed {seed}: {100 * row[seed].headline:.1f} %" for seed in sorted(row))
            yield f"{title} is incomplete, {len(row)} of {most} seeds ({seeds})."
        if len({item.record.plugin.source_hash for item in row.values()}) > 1:
            yield f"{title}: its seeds ran different versions of the method's code."
        if len({canonical_json(item.record.config.model_dump(mode="json")) for item in row.values()}) > 1:
            yield f"{title}: its seeds ran different configurations."
    yield from _split_notes(group)
    trained = [item.record for row in group.values() for item in row.values() if item.record.cell.test_on is None]
    if devices := sorted({record.measured.device or "unknown" for record in trained}):
        yield f"Minutes were measured on {', '.join(devices)}{'; they do not compare' if len(devices) > 1 else ''}."


def _split_notes(group: Mapping[str, Mapping[int, Scored]]) -> Iterator[str]:
    for seed in sorted({seed for row in group.values() for seed in row}):
        if len({row[seed].labeled for row in group.values() if seed in row}) > 1:
            yield f"The labeled images of seed {seed} differ between rows; such pairs do not enter a gain."
