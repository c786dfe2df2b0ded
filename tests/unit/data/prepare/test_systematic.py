"""Differences that concern all labels, on counts made by hand."""

import pytest

from ferbench.contract.account import Account
from ferbench.data.prepare.systematic import leave_empty_classes, systematic_differences

OFFICIAL = {"train": {"anger": 705, "disgust": 717, "fear": 281, "neutral": 2524}}


def account(counts: dict[str, int], unknown: dict[str, int] | None = None) -> Account:
    taken = Account()
    taken.counts["train"] = counts
    taken.unknown_labels.update(unknown or {})
    taken.add("image", "a", "sample", "train", sum(counts.values()))
    taken.add("entry", "b", "damage", "", sum((unknown or {}).values()) or 1)
    return taken


@pytest.mark.parametrize(
    "counts",
    [
        {"anger": 717, "disgust": 705, "fear": 281, "neutral": 2524},  # two are exchanged, and near each other
        {"anger": 2524, "disgust": 705, "fear": 717, "neutral": 281},  # all are off by one
        {"anger": 2520, "disgust": 704, "fear": 716, "neutral": 280},  # and some are damaged
    ],
)
def test_counts_of_other_classes_are_found(counts: dict[str, int]) -> None:
    (text,) = systematic_differences(account(counts), OFFICIAL)
    assert "anger has" in text


@pytest.mark.parametrize(
    "counts",
    [
        {"anger": 705, "disgust": 717, "fear": 281, "neutral": 2524},
        {"anger": 690, "disgust": 701, "fear": 270, "neutral": 2500},  # images are missing
        {"anger": 709, "disgust": 713, "fear": 281, "neutral": 2524},  # labels were corrected
        {"anger": 2, "disgust": 2, "fear": 2, "neutral": 2},  # a look-alike
        {},
    ],
)
def test_other_differences_are_not(counts: dict[str, int]) -> None:
    assert not list(systematic_differences(account(counts), OFFICIAL))


def test_a_sum_alone_says_nothing_of_names() -> None:
    assert not list(systematic_differences(account({"anger": 9}), {"train": {"all": 500}, "all": {"all": 900}}))


def test_one_unknown_label_again_and_again_is_systematic_and_a_single_one_is_not() -> None:
    known = {"anger": 100, "fear": 100}
    (text,) = systematic_differences(account(known, {"0": 40}), {})
    assert "40 of 240 entries have '0'" in text
    assert not list(systematic_differences(account(known, {"0": 1, "9": 1}), {}))
    assert not list(systematic_differences(account({"anger": 1000}, {"0": 2}), {}))


def test_an_empty_class_is_unused_until_the_user_accepts_it() -> None:
    taken = account({"anger": 3, "disgust": 3, "neutral": 3})
    leave_empty_classes(taken, OFFICIAL)
    (line,) = taken.unused()
    assert (line.what, line.examples, "281" in line.reason) == ("class", ["train/fear"], True)
    accepted = Account(patterns=["train/fear"])
    accepted.counts["train"] = {"anger": 3, "disgust": 3, "neutral": 3}
    leave_empty_classes(accepted, OFFICIAL)
    assert not list(accepted.unused())
