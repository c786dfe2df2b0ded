"""Statistics for a few seeds and one test set: spreads, intervals, tests, and the difference that they can detect.

A seed determines labeled images, initial weights and all sampling; the test images are the same for every seed and row.
Both are samples. Let X_ij be the score of seed i (of n) on test image j (of m), or the difference of two rows there:

    X_ij = mean + seed_i + image_j + rest_ij,

Then the mean over all X_ij has the variance

    V = var(seed)/n + var(image)/m + var(rest)/(n m).

S is the variance of the n seed means: S/n estimates the first and the third term. I is the variance of the m image
means: I/m estimates the second and the third term. R is the mean square of the rest: R/(n m) estimates the third term,
which must not count twice:

    V = S/n + max(I/m - R/(n m), 0).

This is the crossed analysis of variance of studies in which several readers read the same cases (Dorfman, Berbaum and
Metz 1992; Hillis 2007). Quantiles are Student's t with n - 1 degrees of freedom, fewer than Satterthwaite's. So no
interval is shorter than the one over seeds alone, and with two or three seeds intervals keep their coverage; in
simulation, Satterthwaite's intervals of two seeds cover only 88 to 95 %.

If every seed is tested on its own images (folds), the variance of the images is already in the seed means.
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
"""Significance level of two-sided tests, and of each of the two one-sided tests of equivalence."""
POWER = 0.8

ByImage = NDArray[np.float64]
"""(n, m), seeds by test images: contributions to a metric; their mean over the images is the metric of the seed."""


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
    """The mean of paired differences, its interval and tests; all but the mean need two pairs.

    `p_unadjusted` is the p-value of the two-sided test of no difference, without adjustment for other tests.
    `smallest` is the true difference that such a test at 5 % detects with a power of 80 %. `within` is the equivalence
    bound: two one-sided tests (TOST) at 5 % show that the absolute difference is smaller. `images` is the number of
    shared test images whose variance is included in all of these; None if only the variance of seeds is.
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

    `p` is the p-value of no difference from the baseline, adjusted by Holm over the classes.
    """

    mean: float
    sd: float | None
    low: float
    high: float
    p: float | None = None


def spread(values: Sequence[float], by_image: ByImage | None = None) -> Spread:
    """Mean, standard deviation and interval; the first two do not depend on the order of the values."""
    mean = fmean(values)
    if len(values) < 2:
        return Spread(mean, None)
    half = quantile(len(values) - 1, (1 + CONFIDENCE) / 2) * standard_error(values, by_image)
    return Spread(mean, stdev(values), mean - half, mean + half)


def within(about: Spread, low: float, high: float) -> Spread:
    """The spread with its interval clipped to a range: with few seeds it may exceed the range of the metric."""
    if about.low is None or about.high is None:
        return about
    return replace(about, low=max(about.low, low), high=min(about.high, high))


def paired(differences: Sequence[float], by_image: ByImage | None = None) -> Paired:
    """The mean difference, its interval and tests, with pairs and images as samples of all seeds and images."""
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
    """The score of one model and its interval over the images, from the contribution of each test image, (m,).

    The variance is I/m above, with the normal quantile; the variance between seeds is not included.
    """
    half = (
        float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(float(parts.var(ddof=1)) / len(parts)) if len(parts) > 1 else 0
    )
    mean = float(parts.mean())
    return Spread(mean, None, mean - half, mean + half)


def standard_error(values: Sequence[float], by_image: ByImage | None = None) -> float:
    """Standard error of the mean of two or more seeds: the square root of V above, or of S/n without `by_image`."""
    return math.sqrt(sum(_variances(values, by_image)))


def _variances(values: Sequence[float], by_image: ByImage | None) -> tuple[float, float]:
    """The two terms of V: S/n, and the part that images add."""
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
    """Wilson's 95 % interval of the recall of a class, averaged over seeds.

    Seeds share the test images, so five seeds do not count as five times the images. The effective sample size is at
    most `images`, and smaller if seeds vary more than that many images explain. It is the effective sample size of
    surveys, with Student's t instead of the normal quantile (Korn and Graubard 1998) for the variance between seeds.
    With one seed it is Wilson's interval of textbooks.
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
    """The p-values of one family, adjusted (Holm 1979): rejecting those below 0.05 keeps the family's error at 5 %."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found: list[float] = np.minimum(adjusted, 1.0).tolist()
    return found


@cache
def quantile(degrees: int, probability: float) -> float:
    """Quantile of Student's t."""
    return float(stdtrit(degrees, probability))


@cache
def _seen(pairs: int) -> float:
    """The smallest true difference that the test detects with a power of 80 %, in standard errors of the mean.

    The t statistic is noncentral; its noncentrality is the difference in standard errors. The probability of a
    rejection in the wrong direction is negligible.
    """
    border = quantile(pairs - 1, (1 + CONFIDENCE) / 2)
    return float(brentq(lambda size: nctdtr(pairs - 1, size, border) - (1 - POWER), 0.0, 20.0))
