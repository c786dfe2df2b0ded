"""Labels per class against the papers' tables, on RAF-DB's class counts."""

import pytest

from ferbench.data.select.allocations import labeled_counts
from ferbench.errors import UsageError
from ferbench.records.cell import Budget

RAF_DB = {
    "surprise": 1290, "fear": 281, "disgust": 717, "happiness": 4772, "sadness": 1982, "anger": 705, "neutral": 2524,
}  # fmt: skip


def counts(sizes: dict[str, int] = RAF_DB, **budget: object) -> dict[str, int]:
    return labeled_counts("raf-db", Budget.model_validate(budget), sizes)


@pytest.mark.parametrize(
    ("labels", "fear", "other"), [(100, 10, 15), (400, 40, 60), (1000, 100, 150), (2000, 200, 300), (4000, 250, 625)]
)
def test_adacm_is_the_table_of_the_authors_readme(labels: int, fear: int, other: int) -> None:
    made = counts(count=labels, allocation="adacm")
    assert made == {**dict.fromkeys(RAF_DB, other), "fear": fear}
    assert sum(made.values()) == labels
    assert list(made) == list(RAF_DB)


@pytest.mark.parametrize(("labels", "in_fact"), [(98, 98), (100, 98), (400, 399), (1000, 994)])
def test_balanced_is_the_whole_part_of_labels_by_classes(labels: int, in_fact: int) -> None:
    """What LEAF's code takes of RAF-DB (facts: 400 labels are 399, 1000 are 994)."""
    made = counts(count=labels, allocation="balanced")
    assert set(made.values()) == {in_fact // 7}
    assert sum(made.values()) == in_fact


@pytest.mark.parametrize(("labels", "in_fact"), [(400, 399), (1000, 994), (2000, 1991), (4000, 3707)])
def test_leaf_takes_all_of_a_class_that_has_fewer(labels: int, in_fact: int) -> None:
    made = counts(count=labels, allocation="leaf")
    assert sum(made.values()) == in_fact
    assert made["fear"] == min(281, labels // 7)


@pytest.mark.parametrize("labels", [10, 25, 100, 250])
def test_a_number_per_class_is_what_it_says(labels: int) -> None:
    assert counts(per_class=labels) == dict.fromkeys(RAF_DB, labels)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"count": 2000, "allocation": "balanced"}, ["2000 labels (balanced)", "raf-db", "fear (281 images, 285 "]),
        ({"count": 4000, "allocation": "balanced"}, ["fear (281 images, 571 wanted)"]),
        ({"per_class": 700}, ["fear (281 images, 700 wanted)"]),
        ({"count": 300, "allocation": "adacm"}, ["--labels 300", "100, 400, 1000, 2000, 4000", "--allocation"]),
        ({"count": 5, "allocation": "balanced"}, ["--labels 5", "7 classes"]),
        ({"count": 400}, ["400 labels", "balanced, adacm, leaf"]),
        ({"ratio": "0.05", "allocation": "adacm"}, ["5 % of the labels (adacm)"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_with_a_remedy(budget: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        counts(**budget)
    for word in words:
        assert word in str(error.value)


def test_adacm_needs_the_seven_basic_classes() -> None:
    with pytest.raises(UsageError, match="seven basic classes"):
        counts({**RAF_DB, "contempt": 500}, count=400, allocation="adacm")
