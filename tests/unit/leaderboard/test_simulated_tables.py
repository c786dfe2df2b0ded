"""Do intervals hold the truth as often as they say, and do tests err as seldom? 2,000 tables with a known truth.

An image is easy or hard for every row, more so for one, and a seed is good or bad: a row is right where the sum of
these, all normal, and of chance exceeds a border. So the true share follows from the normal distribution.
"""

import math

import numpy as np
import pytest
from scipy.stats import norm

from ferbench.leaderboard.differences import Scores, standing
from ferbench.leaderboard.statistics import paired, spread, wilson

TABLES = 2000
ROWS = 4
NEVER_ABOVE = 0.05 + 3 * math.sqrt(0.05 * 0.95 / TABLES)
"""An error rate of 5 %, as far as 2,000 tables tell."""

pytestmark = pytest.mark.slow


def right(random, shape, image, row, seed, border=0.0):
    """Which images each row gets right, (rows, seeds, images) of 0 and 1; effects by their standard deviations."""
    rows, seeds, images = shape
    latent = image * random.normal(size=(1, 1, images)) + row * random.normal(size=(rows, 1, images))
    latent = latent + seed * random.normal(size=(rows, seeds, 1)) + random.normal(size=shape)
    return (latent > border).astype(float)


def scores(answers):
    seeds = [(seed, "labeled") for seed in range(len(answers))]
    return Scores(
        dict(zip(seeds, answers.mean(1), strict=True)),
        dict(zip(seeds, answers, strict=True)),
        dict.fromkeys(seeds, "test"),
    )


@pytest.mark.parametrize("effects", [(1.0, 0.0, 0.0), (1.0, 0.8, 0.1), (0.5, 0.2, 0.4)], ids=str)
def test_equal_rows_are_told_apart_in_one_table_of_twenty(effects):
    random = np.random.default_rng(1)
    gained = apart = 0
    for _ in range(TABLES):
        answers = right(random, (ROWS, 5, 100), *effects)
        rows = {str(number): scores(row) for number, row in enumerate(answers)}
        found = standing(rows, "0", rows["0"])
        gained += min(found.gain_p.values()) < 0.05
        apart += any(len(ties) < ROWS - 1 for ties in found.ties.tied_with.values())
    assert gained / TABLES < NEVER_ABOVE
    assert apart / TABLES < NEVER_ABOVE


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("effects", [(1.0, 0.0, 0.0), (1.0, 0.8, 0.1), (0.5, 0.2, 0.4)], ids=str)
def test_intervals_hold_the_truth(seeds, effects):
    random = np.random.default_rng(2)
    border = -0.8
    truth = norm.sf(border / math.sqrt(1 + sum(effect**2 for effect in effects)))
    of_mean = of_difference = alone = 0
    for _ in range(TABLES):
        one, other = right(random, (2, seeds, 150), *effects, border)
        mean, gap = spread(one.mean(1).tolist(), one), paired((one - other).mean(1).tolist(), one - other)
        over_seeds = spread(one.mean(1).tolist())
        of_mean += mean.low <= truth <= mean.high
        of_difference += gap.low <= 0 <= gap.high
        alone += over_seeds.low <= truth <= over_seeds.high
    assert of_mean / TABLES > 1 - NEVER_ABOVE
    assert of_difference / TABLES > 1 - NEVER_ABOVE
    if seeds == 10 and effects[0] == 1:
        assert alone / TABLES < 0.85  # which is why the variance of the images is in


@pytest.mark.parametrize("effects", [(1.0, 0.0, 0.0), (1.0, 0.8, 0.1), (0.5, 0.2, 0.4)], ids=str)
def test_wilson_holds_the_recall_of_a_rare_class(effects):
    random = np.random.default_rng(3)
    border = 1.4
    truth = norm.sf(border / math.sqrt(1 + sum(effect**2 for effect in effects)))
    held = 0
    for _ in range(TABLES):
        (one,) = right(random, (1, 5, 69), *effects, border)
        low, high = wilson(one.mean(1).tolist(), one, 69)
        held += low <= truth <= high
    assert held / TABLES > 1 - NEVER_ABOVE


def test_equivalence_is_claimed_wrongly_in_one_table_of_twenty_and_power_is_as_stated():
    random = np.random.default_rng(4)
    error = 0.01
    differences = error * math.sqrt(5) * random.normal(size=(TABLES, 5))
    smallest = 3.76106 * error  # of five seeds, for a known standard error
    claimed = [paired((row + 0.02).tolist()).within < 0.02 for row in differences]
    seen = [paired((row + smallest).tolist()).p_unadjusted < 0.05 for row in differences]
    assert np.mean(claimed) < NEVER_ABOVE
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)
