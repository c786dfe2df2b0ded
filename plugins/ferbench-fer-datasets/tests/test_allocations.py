"""Labels of each class on the official counts of every set that has them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ferbench.data.select.allocations import ADACM, labeled_counts
from ferbench.discovery.loader import builtin_protocols
from ferbench.errors import UsageError
from ferbench.records.cell import Budget

from fer_lookalikes.expected import REGISTRY, open_set

OWN = "ferbench-fer-datasets"


def official(name: str) -> Mapping[str, int]:
    """Training images of each class of the default task, as the publishers count them."""
    info = open_set(name, Path()).info
    known = info.official.get("train", {})
    return {label: known[label] for label in info.classes.get(info.default_classes, ()) if label in known}


NAMES = [
    name
    for name in REGISTRY.names("datasets")
    if REGISTRY.get("datasets", name).distribution == OWN and len(official(name)) > 1
]


def test_most_sets_have_official_counts() -> None:
    assert {"raf-db", "fer2013", "affectnet", "ck-plus", "jaffe", "kdef", "aff-wild2"} <= set(NAMES)


@pytest.mark.parametrize("ratio", builtin_protocols()["ratio-v1"].ratios)
@pytest.mark.parametrize("name", NAMES)
def test_a_ratio_is_one_of_each_class(name: str, ratio: str) -> None:
    sizes = official(name)
    made = labeled_counts(name, Budget(ratio=ratio), sizes)
    # Tenths of a per mille are integers: NumPy rounds them without an error of representation.
    exact = np.array(list(sizes.values())) * int(float(ratio) * 10_000)
    below, rest = np.divmod(exact, 10_000)
    nearest = below + ((rest > 5000) | ((rest == 5000) & (below % 2 == 1)))
    assert list(made.values()) == np.maximum(1, nearest).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_labels_are_spread_or_refused_with_the_class_that_lacks(name: str) -> None:
    sizes = official(name)
    for count in builtin_protocols()["count-v1"].counts:
        each = count // len(sizes)
        capped = labeled_counts(name, Budget(count=count, allocation="leaf"), sizes)
        assert capped == {label: min(each, n) for label, n in sizes.items()}
        budget = Budget(count=count, allocation="balanced")
        if min(sizes.values()) < each:
            with pytest.raises(UsageError, match=min(sizes, key=lambda label: sizes[label])):
                labeled_counts(name, budget, sizes)
        else:
            assert labeled_counts(name, budget, sizes) == dict.fromkeys(sizes, each)


@pytest.mark.parametrize("count", ADACM)
@pytest.mark.parametrize("name", [name for name in NAMES if "fear" in official(name) and len(official(name)) == 7])
def test_adacm_keeps_fewer_of_fear(name: str, count: int) -> None:
    sizes = official(name)
    fear, other = ADACM[count]
    budget = Budget(count=count, allocation="adacm")
    if any(n < (fear if label == "fear" else other) for label, n in sizes.items()):
        with pytest.raises(UsageError, match="too few training images"):
            labeled_counts(name, budget, sizes)
    else:
        made = labeled_counts(name, budget, sizes)
        assert sum(made.values()) == count
        assert made["fear"] == fear
