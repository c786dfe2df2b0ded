"""Spread over seeds, and differences between two rows on the same seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the latter needs two values."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Paired:
    """Mean of paired differences with the t-interval over them; the interval needs two pairs."""

    mean: float
    low: float | None
    high: float | None
    pairs: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation; both are exact sums, independent of the order of the values."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def paired(differences: Sequence[float]) -> Paired:
    """The mean difference and its 95 % t-interval, taking the pairs as a sample of all seeds."""
    centre = spread(differences)
    if centre.sd is None:
        return Paired(centre.mean, None, None, len(differences))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    half = quantile * centre.sd / math.sqrt(len(differences))
    return Paired(centre.mean, centre.mean - half, centre.mean + half, len(differences))
