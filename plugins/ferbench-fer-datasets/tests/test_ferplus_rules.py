"""The rules of FERPlus against their words, written again as sets of classes in falling order of votes."""

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferbench_fer_datasets.ferplus_rules import (
    ARGMAX,
    ARGMAX_EMOTIONS,
    EMOTIONS,
    MAJORITY,
    MULTI_TARGET,
    PROBABILITY,
    Votes,
)

# Ten people, one of whom may be missing, with few opinions among them, so that ties are frequent.
PEOPLE = st.lists(st.integers(0, 9), min_size=1, max_size=5).flatmap(
    lambda opinions: st.lists(st.sampled_from(opinions), min_size=9, max_size=10)
)
VOTES = PEOPLE.map(lambda people: [people.count(column) for column in range(10)])


def heard(votes: Votes) -> dict[int, int]:
    """The columns that at least two people name."""
    return {column: n for column, n in enumerate(votes) if n >= 2}


def shares(columns: list[int], votes: Votes) -> dict[str, float]:
    total = sum(votes[column] for column in columns)
    return {EMOTIONS[column]: votes[column] / total for column in columns}


def distribution(label: str | Mapping[str, float] | None) -> Mapping[str, float]:
    return {label: 1.0} if isinstance(label, str) else label or {}


@given(VOTES)
@settings(deadline=None)
def test_majority(votes: Votes) -> None:
    known = heard(votes)
    winners = [EMOTIONS[c] for c, n in known.items() if n / sum(known.values()) > 0.5 and c < 8]
    assert MAJORITY.label(votes) == (winners[0] if winners else None)


@given(VOTES)
@example([0, 0, 0, 0, 0, 2, 2, 2, 2, 2])
@example([4, 2, 2, 2, 0, 0, 0, 0, 0, 0])
@example([3, 3, 0, 0, 0, 0, 0, 0, 0, 4])
@settings(deadline=None)
def test_probability(votes: Votes) -> None:
    known = heard(votes)
    total, taken, stopped = sum(known.values()), list[int](), False
    for n in range(10, 1, -1):
        if stopped or len(taken) >= 3 or sum(votes[c] for c in taken) >= 0.75 * total:
            continue
        equal = [column for column in known if known[column] == n]
        taken += [column for column in equal if column < 8]
        stopped = any(column >= 8 for column in equal)
    enough = sum(votes[c] for c in taken) > total / 2
    expected = shares(taken, votes) if enough and len(taken) <= 3 else {}
    assert distribution(PROBABILITY.label(votes)) == pytest.approx(expected)


@given(VOTES)
@example([3, 0, 0, 0, 3, 0, 1, 0, 3, 0])
@example([3, 0, 0, 0, 0, 0, 0, 3, 4, 0])
@settings(deadline=None)
def test_multi_target(votes: Votes) -> None:
    known = heard(votes)
    total = sum(known.values())
    targets = [column for column, n in known.items() if n / total >= 0.3]
    emotions = [column for column in targets if column < 8]
    enough = sum(votes[c] for c in targets) > total / 2
    beaten = any(all(votes[c] > votes[e] for e in emotions) for c in targets if c >= 8)
    expected = shares(emotions, votes) if enough and not beaten else {}
    assert distribution(MULTI_TARGET.label(votes)) == pytest.approx(expected)


@given(VOTES)
@settings(deadline=None)
def test_argmax(votes: Votes) -> None:
    first = votes.index(max(votes))
    assert ARGMAX.label(votes) == (EMOTIONS[first] if first < 8 else None)
    emotions = list(votes[:8])
    assert ARGMAX_EMOTIONS.label(votes) == EMOTIONS[emotions.index(max(emotions))]


@given(st.lists(st.integers(0, 10**6), min_size=10, max_size=10))
@settings(deadline=None)
def test_shares_are_a_distribution_over_emotions(votes: Votes) -> None:
    for rule in (MAJORITY, PROBABILITY, MULTI_TARGET, ARGMAX, ARGMAX_EMOTIONS):
        label = rule.label(votes)
        if label is not None:
            assert sum(distribution(label).values()) == pytest.approx(1)
            assert set(distribution(label)) <= set(EMOTIONS)
