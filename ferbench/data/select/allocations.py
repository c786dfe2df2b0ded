"""Allocations of a label budget: the number of labeled images of each class."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from ferbench.errors import UsageError
from ferbench.records.cell import Budget

ADACM = {100: (10, 15), 400: (40, 60), 1000: (100, 150), 2000: (200, 300), 4000: (250, 625)}
"""Labels of fear and of each of the six other classes (Ada-CM, README of the authors' code)."""


def labeled_counts(dataset: str, budget: Budget, sizes: Mapping[str, int]) -> dict[str, int]:
    """Labels of each class, from the number of its training images.

    A ratio gives max(1, round-half-even(ratio * n)) labels to a class with n images. A number of labels N is spread by
    Ada-CM's table (`adacm`) or as N // C per class (`balanced`; `leaf` takes all images of a class that has fewer, as
    LEAF's code does, so there may be fewer than N labels). A number per class is used as it is.
    Raises UsageError if a class has too few images, or if the allocation does not support the number or the classes.
    """
    if budget.ratio is not None and budget.allocation == "proportional":
        return {name: proportional_count(budget.ratio, n) for name, n in sizes.items()}
    if budget.per_class is not None:
        counts = dict.fromkeys(sizes, budget.per_class)
    elif budget.count is not None and budget.allocation == "balanced":
        counts = dict.fromkeys(sizes, _balanced(budget.count, len(sizes)))
    elif budget.count is not None and budget.allocation == "leaf":
        counts = {name: min(n, _balanced(budget.count, len(sizes))) for name, n in sizes.items()}
    elif budget.count is not None and budget.allocation == "adacm":
        counts = _adacm(budget.count, tuple(sizes))
    else:
        raise UsageError(f"{budget.title()}: unknown allocation; for --labels it must be one of balanced, adacm, leaf")
    lacking = [f"{name} ({n} images, {counts[name]} wanted)" for name, n in sizes.items() if n < counts[name]]
    if lacking:
        raise UsageError(
            f"dataset '{dataset}' has too few training images for {budget.title()}: {', '.join(lacking)}; choose a "
            "smaller budget"
        )
    return counts


def proportional_count(ratio: str, n: int) -> int:
    """Labels of a class with n images: max(1, round-half-even(ratio * n)), in decimal arithmetic."""
    return max(1, int((Decimal(ratio) * n).to_integral_value(ROUND_HALF_EVEN)))


def _balanced(count: int, n_classes: int) -> int:
    if count < n_classes:
        raise UsageError(f"--labels {count}: fewer labels than the {n_classes} classes; choose a larger number")
    return count // n_classes


def _adacm(count: int, class_names: tuple[str, ...]) -> dict[str, int]:
    if count not in ADACM:
        raise UsageError(
            f"--labels {count}: the allocation 'adacm' is defined only for {', '.join(map(str, ADACM))} labels; "
            "choose one of these, or --allocation balanced"
        )
    if len(class_names) != 7 or "fear" not in class_names:
        raise UsageError(
            f"allocation 'adacm' is defined for the seven basic classes, not for {', '.join(class_names)}; "
            "choose --allocation balanced"
        )
    fear, other = ADACM[count]
    return {name: fear if name == "fear" else other for name in class_names}
