"""Orders of rows: wins by seed, mean ranks, and the Pareto front of gain and cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ferbench.leaderboard.differences import FEWEST
from ferbench.leaderboard.statistics import CONFIDENCE
from ferbench.leaderboard.tables import Row


@dataclass(frozen=True)
class Wins:
    """The number of shared seeds on which one row scored higher than another; a tie is half a win."""

    won: float
    shared: int


@dataclass(frozen=True)
class CriticalDifference:
    """Mean ranks over seeds (1 is best), and the difference from which two ranks differ significantly.

    Friedman's test over the seeds and Nemenyi's critical difference q sqrt(k (k + 1) / 6 N) for k rows and N seeds, as
    in Demsar (JMLR 2006, section 3.2.2), with seeds in place of datasets. `groups` are the longest runs of rows within
    one difference, each by the first and last index in `rows`.
    """

    rows: tuple[Row, ...]
    ranks: tuple[float, ...]
    difference: float
    p_value: float
    seeds: int
    groups: tuple[tuple[int, int], ...]


def wins(a: Row, b: Row) -> Wins:
    """How often `a` beat `b`."""
    shared = a.by_seed.keys() & b.by_seed.keys()
    won = sum((a.by_seed[seed] > b.by_seed[seed]) + 0.5 * (a.by_seed[seed] == b.by_seed[seed]) for seed in shared)
    return Wins(won, len(shared))


def critical_difference(rows: Sequence[Row]) -> CriticalDifference | None:
    """Mean ranks of complete rows; None with fewer than three such rows or five shared seeds, or if all are equal."""
    complete = [row for row in rows if row.complete]
    seeds = sorted(set.intersection(*(set(row.by_seed) for row in complete))) if complete else []
    if len(complete) < 3 or len(seeds) < FEWEST:
        return None
    scores = np.array([[row.by_seed[seed] for seed in seeds] for row in complete])  # (rows, seeds)
    if (scores == scores[0]).all():  # Friedman's statistic is 0 / 0
        return None
    means = stats.rankdata(-scores, axis=0).mean(axis=1)
    order = np.argsort(means, kind="stable")
    ranks = [float(means[index]) for index in order]
    count = len(complete)
    quantile = float(stats.studentized_range.ppf(CONFIDENCE, count, math.inf)) / math.sqrt(2)
    difference = quantile * math.sqrt(count * (count + 1) / (6 * len(seeds)))
    return CriticalDifference(
        rows=tuple(complete[index] for index in order),
        ranks=tuple(ranks),
        difference=difference,
        p_value=float(stats.friedmanchisquare(*scores).pvalue),
        seeds=len(seeds),
        groups=_groups(ranks, difference),
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices, by cost, of the points (cost, gain) for which no other point gains more at the same or lower cost."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def _groups(ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """First and last index of each maximal run of two or more sorted ranks within the difference."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(index for index, other in enumerate(ranks) if other - rank <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
