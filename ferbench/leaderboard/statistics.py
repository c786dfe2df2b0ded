"""What a few seeds and one test set allow to say: spreads, intervals, tests, and what they could have seen.

A seed draws labeled images, initial weights and all sampling; the test images are the same for every seed and row. Both
are samples. With X_ij what seed i (of n) scores on test image j (of m), or there the difference between two rows,

    X_ij = mean + seed_i + image_j + rest_ij,

and the mean over all has the variance

    V = var(seed)/n + var(image)/m + var(rest)/(n m).

The variance of the n seed means divided by n estimates the first and the third term, that of the m image means divided
by m the second and the third. The mean square of the rest divided by n m is the third, which must not count twice:

    V = S/n + max(I/m - R/(n m), 0).

This is the crossed analysis of variance that studies with several readers of the same cases use (Dorfman, Berbaum and
Metz 1992; Hillis 2007). Quantiles are those of Student's t with n - 1 degrees of freedom, fewer than Satterthwaite's:
no interval is shorter than the one over seeds alone, and those of two and three seeds hold what they promise, where
Satterthwaite's of two seeds hold 88 to 95 % in simulation.

Where seeds are tested on images of their own (folds), their means have the variance of the images already.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import nctdtr, ndtri, stdtr, stdtrit

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
"""Of two-sided tests, and of each of the two one-sided tests of equivalence."""
POWER = 0.8

ByImage = NDArray[np.float64]
"""Seeds by test images, (n, m): parts of a metric, whose mean over the images is the metric of the seed."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of values of several seeds, and the 95 % interval of the mean.

    All but the mean need two values.
    """

    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Paired:
    """A mean of paired differences, and what it allows to say; all but the mean need two pairs.

    `p_unadjusted` is that of the two-sided test of no difference, as if it were the only one. `smallest` is the true
    difference that such a test at 5 % sees with a probability of 80 %. `within` is the equivalence bound: two one-sided
    tests (TOST) at 5 % say that the difference is less than that, either way. `images` is the number of shared test
    images whose variance is in all of these; None where it is that of seeds alone.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    p_unadjusted: float | None = None
    smallest: float | None = None
    within: float | None = None
    images: int | None = None


@dataclass(frozen=True)
class Recall:
    """Recall of one class: mean and standard deviation over seeds, and Wilson's 95 % interval of the mean.

    `p` is that of no difference from the baseline, adjusted by Holm over the classes.
    """

    mean: float
    sd: float | None
    low: float
    high: float
    p: float | None = None


def spread(values: Sequence[float], by_image: ByImage | None = None) -> Spread:
    """Mean, standard deviation and interval; the first two are exact sums, independent of the order of the values."""
    mean = fmean(values)
    if len(values) < 2:
        return Spread(mean, None)
    half = quantile(len(values) - 1, (1 + CONFIDENCE) / 2) * standard_error(values, by_image)
    return Spread(mean, stdev(values), mean - half, mean + half)


def within(about: Spread, low: float, high: float) -> Spread:
    """The spread with its interval cut to a range: few seeds allow more than there is."""
    if about.low is None or about.high is None:
        return about
    return replace(about, low=max(about.low, low), high=min(about.high, high))


def paired(differences: Sequence[float], by_image: ByImage | None = None) -> Paired:
    """The mean difference and what it allows to say, taking pairs and images as samples of all seeds and images."""
    pairs, about = len(differences), spread(differences, by_image)
    if pairs < 2:
        return Paired(about.mean, None, None, pairs)
    error, size = standard_error(differences, by_image), abs(about.mean)
    return Paired(
        mean=about.mean,
        low=about.low,
        high=about.high,
        pairs=pairs,
        p_unadjusted=2 * float(stdtr(pairs - 1, -size / error)) if error else float(size == 0),
        smallest=_seen(pairs) * error,
        within=size + quantile(pairs - 1, 1 - LEVEL) * error,
        images=None if by_image is None else by_image.shape[1],
    )


def of_images(parts: NDArray[np.float64]) -> Spread:
    """What one model scored, from what each test image adds to it, (m,), and its interval over the images alone.

    It is I/m of the variance above, with the normal quantile; that other seeds would score otherwise is not in it.
    """
    half = (
        float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(float(parts.var(ddof=1)) / len(parts)) if len(parts) > 1 else 0
    )
    mean = float(parts.mean())
    return Spread(mean, None, mean - half, mean + half)


def standard_error(values: Sequence[float], by_image: ByImage | None = None) -> float:
    """Of the mean of two or more seeds' values: the square root of V above, of S/n where nothing is known by image."""
    return math.sqrt(sum(_variances(values, by_image)))


def _variances(values: Sequence[float], by_image: ByImage | None) -> tuple[float, float]:
    """The two terms of V: of seeds, and what images add."""
    of_seeds = stdev(values) ** 2 / len(values)
    if by_image is None or by_image.shape[1] < 2:
        return of_seeds, 0.0
    n, m = by_image.shape
    seeds, images = by_image.mean(axis=1, keepdims=True), by_image.mean(axis=0, keepdims=True)
    rest = by_image - seeds - images + images.mean()
    of_images = float(images.var(ddof=1)) / m
    of_rest = float(np.square(rest).sum()) / ((n - 1) * (m - 1) * n * m)
    return of_seeds, max(of_images - of_rest, 0.0)


def wilson(values: Sequence[float], by_image: ByImage | None, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of a class's images, the mean over seeds.

    Seeds see the same images, so five seeds are not five times the images: the number that enters is at most `images`,
    and less where seeds vary more than so many images explain. It is the effective sample size of surveys, with
    Student's t for the normal quantile (Korn and Graubard 1998), here for the part of the variance that is of seeds. Of
    one seed it is Wilson's interval of textbooks.
    """
    share, effective, z = fmean(values), float(images), float(ndtri((1 + CONFIDENCE) / 2))
    if len(values) > 1 and 0 < share < 1:
        of_seeds, of_images = _variances(values, by_image)
        variance = of_seeds * (quantile(len(values) - 1, (1 + CONFIDENCE) / 2) / z) ** 2 + of_images
        effective = min(effective, share * (1 - share) / variance) if variance else effective
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * math.sqrt(share * (1 - share) / effective + (z / (2 * effective)) ** 2)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, adjusted (Holm 1979): each below 0.05 is told with 5 % error for the whole family."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found: list[float] = np.minimum(adjusted, 1.0).tolist()
    return found


@cache
def quantile(degrees: int, probability: float) -> float:
    """Of Student's t."""
    return float(stdtrit(degrees, probability))


@cache
def _seen(pairs: int) -> float:
    """The smallest true difference that is seen with a probability of 80 %, in standard errors of the mean.

    The t statistic is then noncentral, by the difference in standard errors, and beyond the border in its direction;
    that it is so in the other direction has no measurable probability.
    """
    border = quantile(pairs - 1, (1 + CONFIDENCE) / 2)
    return float(brentq(lambda size: nctdtr(pairs - 1, size, border) - (1 - POWER), 0.0, 20.0))
