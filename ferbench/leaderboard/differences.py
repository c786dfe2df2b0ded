"""Differences between rows on the seeds that both have: gains over a baseline, recalls, and ties."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median_low
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ferbench.leaderboard.statistics import LEVEL, ByImage, Paired, Recall, Spread, holm, paired, spread, wilson
from ferbench.records.answers import AnswerBook
from ferbench.records.frame import RECALL
from ferbench.records.metrics import Metric

FEWEST = 5
"""A table says which rows are tied if it has at least that many seeds."""

Name = TypeVar("Name")
Cell = Mapping[str, Any]
"""A row of a frame: one cell."""
Seed = tuple[int, str]
"""A seed and the fingerprint of its labeled images: two cells form a pair if they share both."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One number for each seed of a row, and the contribution of each test image to it, if known."""

    values: Mapping[Seed, float]
    parts: Mapping[Seed, NDArray[np.float64]]
    images: Mapping[Seed, str]
    """The images that the parts belong to."""

    def by_image(self, seeds: Sequence[Seed]) -> ByImage | None:
        """The parts of these seeds, (seeds, images); None unless all are known and of the same images."""
        same = {self.images.get(seed) for seed in seeds}
        return None if None in same or len(same) > 1 else np.stack([self.parts[seed] for seed in seeds])

    def spread(self) -> Spread:
        """Mean, standard deviation and interval over all seeds."""
        return spread(list(self.values.values()), self.by_image(list(self.values)))


def scores_of(cells: Sequence[Cell], metric: Metric, book: AnswerBook) -> Scores:
    """One metric of a row; cells without it are omitted."""
    return _scores(cells, metric.key, book, lambda cell: book.parts(cell, metric))


def recalls_of(cells: Sequence[Cell], name: str, label: int, book: AnswerBook) -> Scores:
    """The recall of one class of a row, over the images of that class."""

    def right(cell: Cell) -> NDArray[np.float64] | None:
        answers = book.answers(cell)
        return None if answers is None else answers.right[answers.labels == label].astype(np.float64)

    return _scores(cells, f"{RECALL}{name}", book, right)


def difference(one: Scores, other: Scores) -> Paired | None:
    """One minus the other, over the seeds on which both saw the same labeled images; None if there is no such seed."""
    seeds = [seed for seed in one.values if seed in other.values]
    if not seeds:
        return None
    parts, others = one.by_image(seeds), other.by_image(seeds)
    differences = [one.values[seed] - other.values[seed] for seed in seeds]
    if parts is None or others is None or one.images[seeds[0]] != other.images[seeds[0]]:
        return paired(differences)
    return paired(differences, parts - others)


def adjusted(differences: Mapping[Name, Paired | None]) -> dict[Name, float]:
    """The p-values of a family of differences, adjusted by Holm; only for differences with two or more pairs."""
    known = {name: each.p_unadjusted for name, each in differences.items() if each and each.p_unadjusted is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def recalls(
    cells: Sequence[Cell], baseline: Sequence[Cell] | None, images: Mapping[str, int], book: AnswerBook
) -> dict[str, Recall | None]:
    """The recall of each class in `images` (number of test images by class); None for a class without test images."""
    own = {name: recalls_of(cells, name, label, book) for label, name in enumerate(images)}
    over = {
        name: difference(own[name], recalls_of(baseline, name, label, book))
        for label, name in enumerate(images)
        if baseline is not None
    }
    p_values = adjusted(over)
    return {name: _recall(own[name], images[name], p_values.get(name)) for name in images}


def _recall(scores: Scores, images: int, p: float | None) -> Recall | None:
    if not scores.values or not images:
        return None
    about, values = scores.spread(), list(scores.values.values())
    low, high = wilson(values, scores.by_image(list(scores.values)), images)
    return Recall(about.mean, about.sd, low, high, p)


@dataclass(frozen=True)
class Ties:
    """The ties of a table: for each row, its groups, numbered from the best, and the rows that it is tied with.

    A group is a run of consecutive rows that are all tied with each other, as in a critical-difference diagram. A row
    may be in several groups, because ties are not transitive. Rows that are tied with each other may share no group.
    """

    groups: Mapping[str, tuple[int, ...]]
    tied_with: Mapping[str, tuple[str, ...]]


def ties_of(rows: Sequence[str], pairs: Mapping[tuple[str, str], Paired | None]) -> Ties | None:
    """Ties between rows, best first: two rows differ if p, adjusted by Holm over all pairs, is below 0.05.

    None if some pair has fewer than five seeds, or there is no pair.
    """
    if not pairs or any(pair is None or pair.pairs < FEWEST for pair in pairs.values()):
        return None
    told = {pair for pair, p in adjusted(pairs).items() if p < LEVEL}
    groups = _groups(rows, told)
    return Ties(
        {row: tuple(number for number, group in enumerate(groups, 1) if row in group) for row in rows},
        {
            row: tuple(other for other in rows if other != row and not {(row, other), (other, row)} & told)
            for row in rows
        },
    )


@dataclass(frozen=True)
class Standing:
    """The comparisons of a table's complete rows, by its headline.

    `gains` are over the baseline, `gain_p` are their p-values adjusted by Holm. `smallest_difference` is the true
    difference that a single comparison detects with a power of 80 %: the median over all comparisons.
    `without_images` are rows that lack some of their predictions.
    """

    gains: Mapping[str, Paired]
    gain_p: Mapping[str, float]
    ties: Ties | None
    smallest_difference: float | None
    without_images: tuple[str, ...]


def standing(rows: Mapping[str, Scores], baseline: str | None, over: Scores | None) -> Standing:
    """Compare rows, best first, with each other and with the baseline, which may come from another table."""
    gains = {} if over is None else {name: difference(own, over) for name, own in rows.items() if name != baseline}
    pairs = {pair: difference(rows[pair[0]], rows[pair[1]]) for pair in combinations(rows, 2)}
    # If the baseline is in the table, the gains are among the pairs.
    compared = pairs or gains
    seen = [each.smallest for each in compared.values() if each and each.smallest is not None]
    return Standing(
        {name: gain for name, gain in gains.items() if gain is not None},
        adjusted(gains),
        ties_of(list(rows), pairs),
        median_low(seen) if seen else None,
        tuple(name for name, own in rows.items() if own.parts.keys() != own.values.keys()),
    )


def _groups(rows: Sequence[str], told: set[tuple[str, str]]) -> list[frozenset[str]]:
    """The longest runs of consecutive rows that are all tied with each other; at most one begins at each row."""
    groups, end = [], 0
    for start in range(len(rows)):
        before = end
        while end < len(rows) and not any((row, rows[end]) in told for row in rows[start:end]):
            end += 1
        if end > before:  # else the run is part of the one before
            groups.append(frozenset(rows[start:end]))
    return groups


def _scores(
    cells: Sequence[Cell], column: str, book: AnswerBook, parts_of: Callable[[Cell], NDArray[np.float64] | None]
) -> Scores:
    values, parts, images = {}, {}, {}
    for cell in sorted(cells, key=lambda cell: cell["seed"]):
        value, seed = cell.get(column), (cell["seed"], cell["fingerprint_labeled"])
        if value is None:
            continue
        values[seed] = value
        answers, found = book.answers(cell), parts_of(cell)
        if answers is not None and found is not None:
            parts[seed], images[seed] = found, answers.images
    return Scores(values, parts, images)
