"""Label splits: hash-ranked, nested, independent of file order, method and library versions."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from ferbench.contract.protocol import Validation
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.allocations import labeled_counts
from ferbench.data.select.folds import Fold, subject_folds
from ferbench.data.select.label_noise import DrawnNoise
from ferbench.data.select.ranks import rank
from ferbench.errors import DataError, UsageError
from ferbench.records.cell import Budget, digest
from ferbench.records.predictions import labeled_fingerprint
from ferbench.records.schema import Fingerprints


@dataclass(frozen=True)
class Selection:
    """Rows of the packed dataset by role, and their fingerprints.

    A method sees the labels of `labeled` and `validation`; `unlabeled` is the rest of the training set, empty at ratio
    1. `seen` has the labels as the method sees them, and `labeled_counts` counts those of `labeled` by class.
    """

    labeled: list[int]
    validation: list[int]
    unlabeled: list[int]
    test: list[int]
    labeled_counts: dict[str, int]
    fingerprints: Fingerprints
    seen: ImageStore = field(compare=False)


def make_split(
    packed: ImageStore,
    class_names: Sequence[str],
    budget: Budget,
    seed: int,
    *,
    rule: str,
    groups: str = "image",
    fold: Fold | None = None,
    validation: Validation | None = None,
    noise: DrawnNoise | None = None,
) -> Selection:
    """Choose the labeled images; with `validation` also the held-out images, and with a `fold` the test images.

    Raises DataError if a class has no training image, or if subjects are unknown or too few for the folds; UsageError
    if a class has fewer images than the budget needs, or if the noise has other classes.
    """
    train, test = (of_classes(packed, rows_of(packed, role, fold), class_names) for role in ("train", "test"))
    folds = subject_folds(packed, test, rule, fold.count) if fold else None
    if fold and folds:
        train, test = _apart(packed, test, folds[fold.number])
    if not test:
        raise DataError(
            f"dataset '{packed.name}': no test images of the classes {', '.join(class_names)}; for a dataset without a "
            "test split, use --protocol subject-folds-v1"
        )
    by_class = _choose(packed, train, class_names, budget, seed, rule, groups)
    chosen = {row for rows in by_class.values() for row in rows}
    held_out = _held_out(packed.name, budget, by_class, validation) if validation else set()
    labeled, validated, unlabeled = (
        [row for row in train if row in wanted] for wanted in (chosen - held_out, held_out, set(train) - chosen)
    )
    seen, noisy = noise.on(packed, sorted(chosen), class_names) if noise else (packed, None)
    counts = Counter(seen.labels[row] for row in labeled)
    fingerprints = Fingerprints(
        data=packed.fingerprint,
        labeled=with_labels(seen, labeled),
        validation=with_labels(seen, validated) if validation else None,
        label_noise=noisy,
        unlabeled=without_labels(packed, unlabeled),
        test=with_labels(packed, test),
        split_rule=rule,
        folds=digest(folds) if folds else None,
    )
    labeled_counts = {name: counts[name] for name in class_names}
    return Selection(labeled, validated, unlabeled, test, labeled_counts, fingerprints, seen)


def rows_of(packed: ImageStore, role: Literal["train", "test"], fold: Fold | None = None) -> list[int]:
    """All rows that cells of a protocol may train or test on, over all seeds; with folds, both roles have the same."""
    splits = ("train", "test") if fold else (role,)
    return [row for row, split in enumerate(packed.splits) if split in splits]


def pool_rows(packed: ImageStore) -> list[int]:
    """All training and unlabeled rows of a pool."""
    return [row for row, split in enumerate(packed.splits) if split in ("train", "unlabeled")]


def without_labels(packed: ImageStore, rows: list[int]) -> str:
    """The fingerprint of unlabeled rows, in any order."""
    return digest(sorted(packed.ids[row] for row in rows))


def with_labels(packed: ImageStore, rows: list[int]) -> str:
    """The fingerprint of labeled or test rows, in any order."""
    return labeled_fingerprint([packed.ids[row] for row in rows], [str(packed.labels[row]) for row in rows])


def of_classes(packed: ImageStore, rows: Sequence[int], class_names: Sequence[str]) -> list[int]:
    """The rows with a label among the classes, sorted by id."""
    wanted = set(class_names)
    return sorted((row for row in rows if packed.labels[row] in wanted), key=lambda row: packed.ids[row])


def _apart(packed: ImageStore, rows: Sequence[int], subjects: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows of all other subjects, and rows of these subjects."""
    subject_of, tested = packed.groups("subject"), set(subjects)
    return [row for row in rows if subject_of[row] not in tested], [row for row in rows if subject_of[row] in tested]


def _choose(
    packed: ImageStore, train: list[int], class_names: Sequence[str], budget: Budget, seed: int, rule: str, groups: str
) -> dict[str, list[int]]:
    """The rows of each class whose labels are within the budget, sorted by rank."""
    group_of = packed.groups(groups)
    by_class: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for row in train:
        label = packed.labels[row]
        by_class[str(label)].append((rank(rule, packed.name, seed, group_of[row]), packed.ids[row], row))
    missing = [name for name in class_names if not by_class[name]]
    if missing:
        raise DataError(
            f"dataset '{packed.name}': no training image of the class {', '.join(missing)}; "
            "choose other classes with --classes or complete the dataset"
        )
    counts = labeled_counts(packed.name, budget, {name: len(by_class[name]) for name in class_names})
    return {name: [row for _, _, row in sorted(by_class[name])[: counts[name]]] for name in class_names}


def _held_out(dataset: str, budget: Budget, by_class: Mapping[str, Sequence[int]], validation: Validation) -> set[int]:
    """Every (1 / share)-th row of each class by rank.

    So an image that is held out in a small budget is held out in larger ones too, and the first label of a class never.
    """
    share = Fraction(str(validation.share))
    places = ((place, row) for ranked in by_class.values() for place, row in enumerate(ranked))
    found = {row for place, row in places if int((place + 1) * share) > int(place * share)}
    if not found:
        raise UsageError(
            f"{budget.title()}: no class of '{dataset}' has enough labels to hold out a share of {validation.share} "
            "for validation; choose a larger budget"
        )
    return found
