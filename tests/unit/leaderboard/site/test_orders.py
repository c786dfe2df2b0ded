"""Ranks, wins and the Pareto front, against Demsar's table, brute force and hand calculation."""

import itertools
import random

import numpy as np
import pytest
from scipy import stats

from ferbench.leaderboard.site.orders import Wins, critical_difference, pareto_front, wins
from ferbench.leaderboard.tables import Row

# Demsar (JMLR 2006, table 5a): q at 0.05 for 3 to 10 classifiers.
Q = {3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


def row(name: str, *scores: float, most: int | None = None) -> Row:
    return Row(name, name, dict(enumerate(scores)), most or len(scores))


def random_rows(count: int, seeds: int, seed: int = 0) -> list[Row]:
    chance = np.random.default_rng(seed)
    return [row(f"m{index}", *(chance.random(seeds) + 0.1 * index)) for index in range(count)]


@pytest.mark.parametrize("count", Q)
def test_the_critical_difference_is_that_of_the_published_table(count: int) -> None:
    found = critical_difference(random_rows(count, 10))
    assert found is not None
    assert found.difference == pytest.approx(Q[count] * (count * (count + 1) / 60) ** 0.5, abs=1e-3)


def test_ranks_and_friedmans_test_agree_with_the_formula() -> None:
    rows = random_rows(4, 8)
    found = critical_difference(rows)
    assert found is not None
    # Friedman's statistic from mean ranks, without ties (Demsar, section 3.2.2)
    k, n = 4, 8
    by_hand = {
        one.name: np.mean([1 + sum(other.by_seed[s] > one.by_seed[s] for other in rows) for s in range(n)])
        for one in rows
    }
    assert dict(zip((row.name for row in found.rows), found.ranks, strict=True)) == pytest.approx(by_hand)
    statistic = 12 * n / (k * (k + 1)) * (sum(rank**2 for rank in found.ranks) - k * (k + 1) ** 2 / 4)
    assert found.p_value == pytest.approx(stats.chi2.sf(statistic, k - 1))
    assert list(found.ranks) == sorted(found.ranks)


def test_groups_are_the_longest_runs_within_the_difference() -> None:
    # ranks 1, 2, 3, 4 on every seed; three of the four differences of neighbours and none of two fit in 1.5
    rows = [
        row(name, *(score + 0.001 * seed for seed in range(10)))
        for name, score in zip("abcd", (4, 3, 2, 1), strict=True)
    ]
    found = critical_difference(rows)
    assert found is not None
    assert found.difference == pytest.approx(2.569 * (20 / 60) ** 0.5, abs=1e-3)
    assert found.groups == ((0, 1), (1, 2), (2, 3))


def test_there_are_no_ranks_below_five_seeds_or_three_complete_rows() -> None:
    assert critical_difference(random_rows(3, 4)) is None
    assert critical_difference(random_rows(2, 5)) is None
    assert critical_difference([*random_rows(2, 5), row("part", 0.5, most=5)]) is None
    assert critical_difference([row(name, *[0.5] * 5) for name in "abc"]) is None  # nothing differs
    assert critical_difference([]) is None


def test_wins_are_over_the_seeds_of_both_and_a_tie_is_half() -> None:
    a, b = Row("a", "a", {0: 0.5, 1: 0.7, 2: 0.6}, 3), Row("b", "b", {1: 0.6, 2: 0.6, 3: 0.9}, 3)
    assert (wins(a, b), wins(b, a)) == (Wins(1.5, 2), Wins(0.5, 2))


@pytest.mark.parametrize("seed", range(20))
def test_the_front_has_all_points_that_no_other_beats(seed: int) -> None:
    chance = random.Random(seed)
    points = [(chance.randrange(6), chance.randrange(6)) for _ in range(12)]

    def beaten(point: tuple[int, int]) -> bool:
        return any(x <= point[0] and y >= point[1] and (x, y) != point for x, y in points)

    front = {points[index] for index in pareto_front(points)}
    assert front == {point for point in points if not beaten(point)}
    costs = [points[index] for index in pareto_front(points)]
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(costs))
