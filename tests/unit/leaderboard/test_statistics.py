import itertools
import statistics

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from ferbench.leaderboard.statistics import holm, paired, spread, standard_error, wilson, within

DIFFERENCES = [0.031, 0.012, 0.044, -0.003, 0.02]


def by_image(seeds, images, rest, shape=(5, 400), random=None):
    """Differences of a crossed model with these standard deviations."""
    random = random or np.random.default_rng(0)
    n, m = shape
    parts = (random.normal(size=(n, 1)) * seeds, random.normal(size=(1, m)) * images, random.normal(size=shape) * rest)
    return sum(parts)


def test_spread_is_mean_and_sample_deviation():
    found = spread(DIFFERENCES)
    assert found.mean == pytest.approx(statistics.mean(DIFFERENCES))
    assert found.sd == pytest.approx(statistics.stdev(DIFFERENCES))
    assert (spread([0.5]).sd, spread([0.5]).low) == (None, None)


def test_the_interval_over_seeds_alone_is_the_t_interval_of_scipy():
    found, test = paired(DIFFERENCES), stats.ttest_1samp(DIFFERENCES, 0)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.p_unadjusted == pytest.approx(test.pvalue)
    assert (found.pairs, found.images) == (5, None)
    assert (spread(DIFFERENCES).low, spread(DIFFERENCES).high) == (found.low, found.high)


def test_the_interval_of_two_pairs_by_hand():
    # mean 0.02, standard error 0.01, t quantile of one degree of freedom 12.7062
    found = paired([0.01, 0.03])
    assert found.mean == pytest.approx(0.02)
    assert found.high - found.mean == pytest.approx(12.7062 * 0.01, rel=1e-5)


def test_one_pair_has_a_mean_alone():
    found = paired([0.1])
    assert (found.mean, found.pairs) == (0.1, 1)
    assert {found.low, found.high, found.p_unadjusted, found.smallest, found.within} == {None}


def test_pairs_without_any_spread_are_equal_or_different_for_certain():
    assert (paired([0.0, 0.0]).p_unadjusted, paired([0.25, 0.25]).p_unadjusted) == (1.0, 0.0)


def test_an_interval_ends_where_the_metric_does():
    about = spread([0.6, 0.9])
    assert about.low < 0 and about.high > 1
    assert (within(about, 0, 1).low, within(about, 0, 1).high) == (0, 1)
    assert within(spread([0.5]), 0, 1) == spread([0.5])


def test_the_order_of_values_does_not_matter():
    values = [0.1, 0.2, 0.7, 1e-9]
    assert len({spread(order) for order in itertools.permutations(values)}) == 1


def test_the_variance_is_that_of_the_crossed_analysis_of_variance():
    x = by_image(0.1, 0.5, 0.3)
    n, m = x.shape
    rows, columns = x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    mean_square_seeds = m * np.sum((rows - x.mean()) ** 2) / (n - 1)
    mean_square_images = n * np.sum((columns - x.mean()) ** 2) / (m - 1)
    mean_square_rest = np.sum((x - rows - columns + x.mean()) ** 2) / ((n - 1) * (m - 1))
    expected = (mean_square_seeds + mean_square_images - mean_square_rest) / (n * m)
    assert standard_error(x.mean(1), x) ** 2 == pytest.approx(expected)


@pytest.mark.parametrize("images", [0.0, 0.2, 1.0])
def test_images_never_make_an_interval_shorter(images):
    x = by_image(0.05, images, 0.4)
    alone, both = standard_error(x.mean(1)), standard_error(x.mean(1), x)
    assert both >= alone
    assert (both > 1.05 * alone) == (images > 0)


def test_holm_is_that_of_statsmodels():
    random = np.random.default_rng(3)
    for number in (1, 2, 7, 30):
        p_values = random.uniform(size=number) ** 3
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert holm([0.01, 0.01, 0.04]) == pytest.approx([0.03, 0.03, 0.04])
    assert holm([]) == []


@pytest.mark.parametrize("pairs", [2, 3, 5, 10, 40])
def test_the_smallest_difference_is_that_of_statsmodels(pairs):
    values = np.random.default_rng(pairs).normal(size=pairs)
    effect = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert paired(values.tolist()).smallest == pytest.approx(effect * values.std(ddof=1), rel=1e-5)


@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.05])
def test_the_equivalence_bound_is_where_two_one_sided_tests_reach_5_percent(shift):
    values = [value + shift for value in DIFFERENCES]
    bound = paired(values).within
    assert DescrStatsW(values).ttost_mean(-bound, bound)[0] == pytest.approx(0.05)


@pytest.mark.parametrize("right", [0, 1, 7, 35, 69])
def test_the_interval_of_one_seed_is_wilsons_of_statsmodels(right):
    assert wilson([right / 69], None, 69) == pytest.approx(proportion_confint(right, 69, method="wilson"), abs=1e-12)


def test_seeds_that_agree_are_no_more_images_and_seeds_that_differ_fewer():
    answers = np.zeros((5, 69))
    answers[:, :12] = 1
    assert wilson([12 / 69] * 5, answers, 69) == pytest.approx(proportion_confint(12, 69, method="wilson"), rel=0.01)
    low, high = wilson([0.02, 0.35, 0.05, 0.3, 0.15], None, 69)
    assert high - low > np.diff(proportion_confint(12, 69, method="wilson"))
