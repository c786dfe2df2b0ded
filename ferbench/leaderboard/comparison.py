"""Two rows side by side on the seeds of both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ferbench.errors import UsageError, VerificationError
from ferbench.leaderboard.statistics import Paired, paired
from ferbench.records.dotted import flat
from ferbench.records.frame import RECALL, rows_of
from ferbench.records.metrics import shown_in
from ferbench.records.store import PREDICTIONS, read_predictions

SPLIT = ("data", "labeled", "test", "split_rule")
EQUAL = (
    *("protocol", "dataset", "classes", "pool", "backbone", "init", "precision", "budget", "engine_version"),
    *("image_passes", "parameters", "selection"),
)
"""What a fair comparison holds equal besides method, variant, head and the fields of the protocol."""

Cell = Mapping[str, Any]
"""A row of a frame: one cell."""


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


def compare_rows(a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    """Compare two rows, given by their cells. Different splits are refused: their difference would say nothing."""
    one, other = ({cell["seed"]: cell for cell in rows_of(cells)} for cells in (a, b))
    name_a, name_b = a["row"].iloc[0], b["row"].iloc[0]
    pairs = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    if not pairs:
        raise UsageError(
            f"{name_a} and {name_b} have no seed in common "
            f"({_listed(one)} against {_listed(other)}); run one of them with --seed {_listed(one)}"
        )
    for pair in pairs:
        _refuse_other_split(*pair)
    alone = {name_a: one.keys() - other.keys(), name_b: other.keys() - one.keys()}
    return Comparison(
        a=name_a,
        b=name_b,
        pairs=tuple(SeedPair(x["seed"], x["accuracy"], y["accuracy"], mcnemar(x, y)) for x, y in pairs),
        metrics={metric.key: _difference(metric.key, pairs) for metric in shown_in("compare")},
        recalls={name: _difference(f"{RECALL}{name}", pairs) for name in json.loads(pairs[0][0]["class_names"])},
        unequal=tuple(_unequal(*pairs[0])),
        unpaired={name: tuple(sorted(seeds)) for name, seeds in alone.items() if seeds},
    )


def mcnemar(a: Cell, b: Cell) -> McNemar | None:
    """Counts on the shared test images; None unless both predictions are there and of the same images."""
    try:
        one, other = (read_predictions(Path(cell["path"]).parent / PREDICTIONS) for cell in (a, b))
    except VerificationError:
        return None
    if one.digest() != a["predictions_digest"] or other.digest() != b["predictions_digest"]:
        return None
    if one.ids != other.ids or not np.array_equal(one.labels, other.labels):
        return None
    right_a = one.logits.argmax(axis=1) == one.labels
    right_b = other.logits.argmax(axis=1) == other.labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


def _refuse_other_split(a: Cell, b: Cell) -> None:
    for part in (*SPLIT, "unlabeled") if a["pool"] == b["pool"] else SPLIT:
        if a[f"fingerprint_{part}"] != b[f"fingerprint_{part}"]:
            raise UsageError(
                f"{a['path']} and {b['path']} do not compare: their {part} fingerprints differ; run both on the same "
                "data, protocol, budget and seed"
            )
    if a["class_names"] != b["class_names"]:
        raise UsageError(f"{a['path']} and {b['path']} do not compare: their classes differ")


def _difference(name: str, pairs: Sequence[tuple[Cell, Cell]]) -> Paired | None:
    """Of one metric or recall over the seeds; None unless each seed has it in both rows."""
    values = [(one.get(name), other.get(name)) for one, other in pairs]
    differences = [one - other for one, other in values if one is not None and other is not None]
    return paired(differences) if len(differences) == len(pairs) else None


def _unequal(a: Cell, b: Cell) -> list[str]:
    """Everything besides method, variant and head that a fair comparison holds equal, as far as a record tells."""
    one, other = _conditions(a), _conditions(b)
    return [
        f"{name}: {_shown(one.get(name))} against {_shown(other.get(name))}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _conditions(cell: Cell) -> dict[str, Any]:
    environment, protocol = json.loads(cell["environment"]), json.loads(cell["config"])["protocol"]
    return {
        **{name.replace("_", " "): cell[name] for name in EQUAL},
        **{f"protocol.{name}": value for name, value in flat(protocol)},
        **{name: environment.get(name) for name in ("torch", "device")},
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(row: Mapping[int, Cell]) -> str:
    return ",".join(map(str, sorted(row)))
