"""Compare two rows on the seeds that both have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from ferbench.errors import UsageError
from ferbench.leaderboard.differences import Cell, Scores, adjusted, difference, recalls_of, scores_of
from ferbench.leaderboard.statistics import Paired
from ferbench.records.answers import AnswerBook
from ferbench.records.dotted import flat
from ferbench.records.frame import rows_of
from ferbench.records.metrics import shown_in

SPLIT = ("data", "labeled", "test", "split_rule")
EQUAL = (
    *("protocol", "dataset", "classes", "pool", "backbone", "init", "precision", "budget", "engine_version"),
    *("image_passes", "parameters", "selection"),
)
"""Fields that are equal in a fair comparison, besides those of the protocol. Method, variant and head may differ."""


@dataclass(frozen=True)
class McNemar:
    """How many test images only one of two models gets right, and the exact two-sided test of an even split."""

    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class SeedPair:
    """Both accuracies of one seed, and McNemar's counts if the predictions of both are stored."""

    seed: int
    a: float
    b: float
    mcnemar: McNemar | None


@dataclass(frozen=True)
class Comparison:
    """The differences A minus B, and all conditions that differ besides the method (`unequal`).

    `recall_p` are the p-values of the recalls, adjusted by Holm over the classes. `unpaired` are the seeds that only
    one row has, by its name.
    """

    a: str
    b: str
    pairs: tuple[SeedPair, ...]
    metrics: Mapping[str, Paired | None]
    recalls: Mapping[str, Paired | None]
    recall_p: Mapping[str, float]
    unequal: tuple[str, ...]
    unpaired: Mapping[str, tuple[int, ...]]


def compare_rows(a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    """Compare two rows, given by their cells; raises UsageError if they share no seed or their splits differ."""
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
    book, (cells_a, cells_b) = AnswerBook(), zip(*pairs, strict=True)

    def over_all(one: Scores, other: Scores) -> Paired | None:
        """The difference, or None unless every seed has the number in both rows."""
        found = difference(one, other)
        return found if found is not None and found.pairs == len(pairs) else None

    recalls = {
        name: over_all(*(recalls_of(cells, name, label, book) for cells in (cells_a, cells_b)))
        for label, name in enumerate(json.loads(pairs[0][0]["class_names"]))
    }
    alone = {name_a: one.keys() - other.keys(), name_b: other.keys() - one.keys()}
    return Comparison(
        a=name_a,
        b=name_b,
        pairs=tuple(SeedPair(x["seed"], x["accuracy"], y["accuracy"], mcnemar(x, y, book)) for x, y in pairs),
        metrics={
            metric.key: over_all(*(scores_of(cells, metric, book) for cells in (cells_a, cells_b)))
            for metric in shown_in("compare")
        },
        recalls=recalls,
        recall_p=adjusted(recalls),
        unequal=tuple(_unequal_over(pairs)),
        unpaired={name: tuple(sorted(seeds)) for name, seeds in alone.items() if seeds},
    )


def mcnemar(a: Cell, b: Cell, book: AnswerBook) -> McNemar | None:
    """McNemar's test on the shared test images; None unless both cells have predictions of the same images."""
    one, other = book.answers(a), book.answers(b)
    if one is None or other is None or one.images != other.images:
        return None
    only_a, only_b = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


def _refuse_other_split(a: Cell, b: Cell) -> None:
    for part in (*SPLIT, "unlabeled") if a["pool"] == b["pool"] else SPLIT:
        if a[f"fingerprint_{part}"] != b[f"fingerprint_{part}"]:
            raise UsageError(
                f"{a['path']} and {b['path']} cannot be compared: their {part} fingerprints differ; run both on the "
                "same data, protocol, budget and seed"
            )
    if a["class_names"] != b["class_names"]:
        raise UsageError(
            f"{a['path']} and {b['path']} cannot be compared: their classes differ; run both with the same --classes"
        )


def _unequal_over(pairs: Sequence[tuple[Cell, Cell]]) -> Iterator[str]:
    """The conditions that differ in some pair, with the seeds unless it is all of them."""
    found: dict[str, list[int]] = {}
    for a, b in pairs:
        for line in _unequal(a, b):
            found.setdefault(line, []).append(a["seed"])
    for line, seeds in found.items():
        yield line if len(seeds) == len(pairs) else f"{line} (seed {', '.join(map(str, seeds))})"


def _unequal(a: Cell, b: Cell) -> list[str]:
    """The conditions that differ, besides method, variant and head, as far as the records say."""
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
