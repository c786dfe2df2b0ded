"""Label splits: hash-ranked, nested, independent of file order, method and library versions."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ferbench.data.allocations import labeled_counts
from ferbench.data.packed import Packed
from ferbench.errors import DataError
from ferbench.records.cell import Budget, digest
from ferbench.records.predictions import labeled_fingerprint


@dataclass(frozen=True)
class SplitPlan:
    """Rows of the packed set by role, and their fingerprints.

    `unlabeled` is the training set minus the labeled rows; it is empty at ratio 1.
    """

    labeled: list[int]
    unlabeled: list[int]
    test: list[int]
    labeled_counts: dict[str, int]
    fingerprints: dict[str, str]


def rank(rule: str, dataset: str, seed: int, group: str) -> str:
    """The rank of a group: SHA-256 hex of the UTF-8 JSON `[rule, dataset, seed, group]`."""
    return hashlib.sha256(json.dumps([rule, dataset, seed, group], ensure_ascii=False).encode("utf-8")).hexdigest()


def make_split(
    packed: Packed, class_names: Sequence[str], budget: Budget, seed: int, *, rule: str, groups: str = "image"
) -> SplitPlan:
    """Choose the labeled images; raises DataError where a class has none, UsageError where it has too few."""
    rows = {side: _rows(packed, side, class_names) for side in ("train", "test")}
    if not rows["test"]:
        raise DataError(f"dataset '{packed.name}': no test images of the classes {', '.join(class_names)}")
    labeled, counts = _choose(packed, rows["train"], class_names, budget, seed, rule, groups)
    chosen = set(labeled)
    unlabeled = [row for row in rows["train"] if row not in chosen]
    fingerprints = {
        "data": packed.fingerprint,
        "labeled": _with_labels(packed, labeled),
        "unlabeled": without_labels(packed, unlabeled),
        "test": _with_labels(packed, rows["test"]),
    }
    return SplitPlan(labeled, unlabeled, rows["test"], counts, fingerprints)


def pool_rows(packed: Packed) -> list[int]:
    """All training and unlabeled rows of a pool."""
    return [row for row, split in enumerate(packed.splits) if split in ("train", "unlabeled")]


def without_labels(packed: Packed, rows: list[int]) -> str:
    """The fingerprint of unlabeled rows, in any order."""
    return digest(sorted(packed.ids[row] for row in rows))


def _rows(packed: Packed, split: str, class_names: Sequence[str]) -> list[int]:
    wanted = set(class_names)
    rows = [
        i
        for i, (s, label) in enumerate(zip(packed.splits, packed.labels, strict=True))
        if s == split and label in wanted
    ]
    return sorted(rows, key=lambda row: packed.ids[row])


def _choose(
    packed: Packed, train: list[int], class_names: Sequence[str], budget: Budget, seed: int, rule: str, groups: str
) -> tuple[list[int], dict[str, int]]:
    group_of = packed.groups(groups)
    by_class: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for row in train:
        label = packed.labels[row]
        by_class[str(label)].append((rank(rule, packed.name, seed, group_of[row]), packed.ids[row], row))
    missing = [name for name in class_names if not by_class[name]]
    if missing:
        raise DataError(
            f"dataset '{packed.name}': no training image of class {', '.join(missing)}, so none can be labeled; "
            "choose other classes with --classes or complete the data set"
        )
    counts = labeled_counts(packed.name, budget, {name: len(by_class[name]) for name in class_names})
    labeled = [row for name in class_names for _, _, row in sorted(by_class[name])[: counts[name]]]
    return sorted(labeled, key=lambda row: packed.ids[row]), counts


def _with_labels(packed: Packed, rows: list[int]) -> str:
    return labeled_fingerprint([packed.ids[row] for row in rows], [str(packed.labels[row]) for row in rows])
