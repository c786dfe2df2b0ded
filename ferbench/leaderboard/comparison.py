"""Two rows side by side on the seeds of both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ferbench.errors import UsageError, VerificationError
from ferbench.leaderboard.statistics import Paired, paired
from ferbench.records.metrics import shown_in
from ferbench.records.names import row_name
from ferbench.records.schema import Record, Result
from ferbench.records.store import PREDICTIONS, read_predictions

SPLIT = ("data", "labeled", "test", "split_rule")


@dataclass(frozen=True, eq=False)
class Located:
    """A record with a result, and where it lies."""

    path: Path
    record: Record
    result: Result


@dataclass(frozen=True)
class McNemar:
    """How many test images only one of two models gets right, and the exact two-sided test of an even split."""

    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class SeedPair:
    """Both accuracies of one seed, and McNemar's counts where both predictions are stored."""

    seed: int
    a: float
    b: float
    mcnemar: McNemar | None


@dataclass(frozen=True)
class Comparison:
    """A minus B in every number, and what besides the method is not equal."""

    a: str
    b: str
    pairs: tuple[SeedPair, ...]
    metrics: Mapping[str, Paired | None]
    recalls: Mapping[str, Paired | None]
    unequal: tuple[str, ...]
    unpaired: Mapping[str, tuple[int, ...]]


def compare_rows(a: Mapping[int, Located], b: Mapping[int, Located]) -> Comparison:
    """Compare two rows, given by seed. Different splits are refused: their difference would say nothing."""
    seeds = sorted(set(a) & set(b))
    name_a, name_b = (row_name(next(iter(row.values())).record.cell) for row in (a, b))
    if not seeds:
        raise UsageError(
            f"{name_a} and {name_b} have no seed in common "
            f"({_listed(a)} against {_listed(b)}); run one of them with --seed {_listed(a)}"
        )
    for seed in seeds:
        _refuse_other_split(a[seed], b[seed])
    scores = [(a[seed].result.scores(), b[seed].result.scores()) for seed in seeds]
    recalls = [(a[seed].result.metrics.per_class_recall, b[seed].result.metrics.per_class_recall) for seed in seeds]
    first = a[seeds[0]], b[seeds[0]]
    return Comparison(
        a=name_a,
        b=name_b,
        pairs=tuple(
            SeedPair(seed, a[seed].result.metrics.accuracy, b[seed].result.metrics.accuracy, mcnemar(a[seed], b[seed]))
            for seed in seeds
        ),
        metrics={metric.key: _difference(metric.key, scores) for metric in shown_in("compare")},
        recalls={name: _difference(name, recalls) for name in first[0].result.class_names},
        unequal=tuple(_unequal(*first)),
        unpaired={
            name: tuple(sorted(set(row) - set(seeds)))
            for name, row in ((name_a, a), (name_b, b))
            if set(row) - set(seeds)
        },
    )


def mcnemar(a: Located, b: Located) -> McNemar | None:
    """Counts on the shared test images; None unless both predictions are there and of the same images."""
    try:
        one, other = (read_predictions(item.path.parent / PREDICTIONS) for item in (a, b))
    except VerificationError:
        return None
    if one.digest() != a.result.predictions_digest or other.digest() != b.result.predictions_digest:
        return None
    if one.ids != other.ids or not np.array_equal(one.labels, other.labels):
        return None
    right_a = one.logits.argmax(axis=1) == one.labels
    right_b = other.logits.argmax(axis=1) == other.labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


def _refuse_other_split(a: Located, b: Located) -> None:
    same_pool = a.record.cell.pool == b.record.cell.pool
    for part in (*SPLIT, "unlabeled") if same_pool else SPLIT:
        if getattr(a.result.fingerprints, part) != getattr(b.result.fingerprints, part):
            raise UsageError(
                f"{a.path} and {b.path} do not compare: their {part} fingerprints differ; run both on the same data, "
                "protocol, budget and seed"
            )
    if a.result.class_names != b.result.class_names:
        raise UsageError(f"{a.path} and {b.path} do not compare: their classes differ")


def _difference(
    name: str, values: Sequence[tuple[Mapping[str, float | None], Mapping[str, float | None]]]
) -> Paired | None:
    """Of one metric or recall over the seeds; None unless each seed has it in both rows."""
    pairs = [(one.get(name), other.get(name)) for one, other in values]
    differences = [one - other for one, other in pairs if one is not None and other is not None]
    return paired(differences) if len(differences) == len(pairs) else None


def _unequal(a: Located, b: Located) -> list[str]:
    """Everything besides method, variant and head that a fair comparison holds equal, as far as a record tells."""
    one, other = _conditions(a), _conditions(b)
    return [
        f"{name}: {_shown(one.get(name))} against {_shown(other.get(name))}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _conditions(item: Located) -> dict[str, Any]:
    cell = item.record.cell
    conditions = {
        name: getattr(cell, name)
        for name in ("protocol", "dataset", "classes", "pool", "backbone", "init", "precision")
    }
    conditions |= {
        "budget": cell.budget.label(),
        "engine version": item.record.engine_version,
        "image passes": item.result.image_passes,
        "parameters": item.result.parameters,
        "selection": item.record.selection,
    }
    conditions |= {f"protocol.{name}": value for name, value in _flat(item.record.config.protocol).items()}
    return conditions | {name: item.record.environment.get(name) for name in ("torch", "device")}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(row: Mapping[int, Located]) -> str:
    return ",".join(map(str, sorted(row)))
