import itertools
import statistics

import pytest
from scipy import stats

from ferbench.leaderboard.statistics import paired, spread

DIFFERENCES = [0.031, 0.012, 0.044, -0.003, 0.02]


def test_spread_is_mean_and_sample_deviation():
    found = spread(DIFFERENCES)
    assert found.mean == pytest.approx(statistics.mean(DIFFERENCES))
    assert found.sd == pytest.approx(statistics.stdev(DIFFERENCES))
    assert spread([0.5]).sd is None


def test_the_interval_is_the_t_interval_of_scipy():
    found = paired(DIFFERENCES)
    low, high = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.pairs == 5


def test_the_interval_of_two_pairs_by_hand():
    # mean 0.02, standard error 0.01, t quantile of one degree of freedom 12.7062
    found = paired([0.01, 0.03])
    assert found.mean == pytest.approx(0.02)
    assert found.high - found.mean == pytest.approx(12.7062 * 0.01, rel=1e-5)


def test_one_pair_has_no_interval():
    assert (paired([0.1]).low, paired([0.1]).high) == (None, None)


def test_the_order_of_values_does_not_matter():
    values = [0.1, 0.2, 0.7, 1e-9]
    assert len({spread(order) for order in itertools.permutations(values)}) == 1
