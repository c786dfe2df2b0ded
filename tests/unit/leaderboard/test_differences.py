from itertools import combinations
from statistics import median_low

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ferbench.leaderboard.differences import ties_of
from ferbench.leaderboard.statistics import Paired
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from ferbench.records.store import PREDICTIONS, read_predictions, read_record
from tests.unit.records.factory import make_cell, write_record

SKILLS = {"supervised": 1.5, "fixmatch": 2.5, "ada-cm": 2.5, "leaf": 1.8}


def write(root, skills, seeds):
    return [
        write_record(root, make_cell(method, seed), skill) for method, skill in skills.items() for seed in range(seeds)
    ]


def table_of(paths):
    (table,) = make_board(frame_of(map(read_record, paths), paths)).tables
    return table


def right(root, method, seeds):
    """Which images each seed gets right, (seeds, images), read without the code under test."""
    found = []
    for seed in range(seeds):
        predictions = read_predictions(root / make_cell(method, seed).folder() / PREDICTIONS)
        found.append(predictions.logits.argmax(axis=1) == predictions.labels)
    return np.array(found, dtype=float)


def error_of(x):
    """The standard error of the mean of a crossed sample (seeds, images), by the analysis of variance."""
    n, m = x.shape
    seeds, images = x.mean(1).var(ddof=1) / n, x.mean(0).var(ddof=1) / m
    rest = ((x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()) ** 2).sum() / (n - 1) / (m - 1) / (n * m)
    return np.sqrt(seeds + max(images - rest, 0))


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    root = tmp_path_factory.mktemp("five")
    return root, table_of(write(root, SKILLS, 5))


def test_the_gain_has_the_variance_of_seeds_and_images(five):
    root, table = five
    x = right(root, "fixmatch", 5) - right(root, "supervised", 5)
    error = error_of(x)
    (row,) = [row for row in table.rows if row.name == "fixmatch"]
    assert (row.gain.mean, row.gain.images) == (pytest.approx(x.mean()), 210)
    assert row.gain.high - row.gain.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * error)
    assert row.gain.p_unadjusted == pytest.approx(2 * stats.t.sf(abs(x.mean()) / error, 4))


def test_gains_are_adjusted_over_the_gains_of_the_table(five):
    _, table = five
    gains = [row for row in table.rows if row.gain is not None]
    expected = multipletests([row.gain.p_unadjusted for row in gains], method="holm")[1]
    assert [row.gain_p for row in gains] == pytest.approx(expected.tolist())
    assert [row.gain_p for row in table.rows if row.name == table.baseline] == [None]


def test_rows_are_tied_unless_holm_over_all_pairs_tells_them_apart(five):
    _, table = five
    names = [row.name for row in table.rows]
    assert (set(names[:2]), names[-1]) == ({"ada-cm", "fixmatch"}, "supervised@weak")
    ties = {row.name: set(row.tied_with) for row in table.rows}
    assert "fixmatch" in ties["ada-cm"] and "supervised@weak" not in ties["ada-cm"]
    assert all((one in ties[other]) == (other in ties[one]) for one in names for other in names)
    for row in table.rows:
        assert {other.name for other in table.rows if set(other.groups) & set(row.groups)} - {row.name} == ties[
            row.name
        ]
    assert table.rows[0].groups[0] == 1


def test_the_table_names_the_median_of_what_its_comparisons_see(five):
    root, table = five
    answers = [right(root, method, 5) for method in SKILLS]
    # of five seeds 3.76106 standard errors: the noncentrality at which t with 4 degrees of freedom has 80 % power
    expected = [3.76106 * error_of(one - other) for one, other in combinations(answers, 2)]
    assert table.smallest_difference == pytest.approx(median_low(expected), rel=1e-5)
    assert any(f"difference of {100 * table.smallest_difference:.1f} points" in note for note in table.notes)


def test_below_five_seeds_nothing_is_tied(tmp_path):
    table = table_of(write(tmp_path, SKILLS, 4))
    assert {(row.groups, row.tied_with) for row in table.rows} == {((), None)}
    assert all(row.gain_p is not None for row in table.rows if row.gain)
    assert any("at least 5 seeds" in note for note in table.notes)


def test_recalls_are_adjusted_over_the_classes(five):
    root, table = five
    (row,) = [row for row in table.rows if row.name == "fixmatch"]
    labels = np.arange(210) % 7
    x = right(root, "fixmatch", 5) - right(root, "supervised", 5)
    p_values = []
    for label in range(7):
        own = x[:, labels == label]
        p_values.append(2 * stats.t.sf(abs(own.mean()) / error_of(own), 4))
    expected = multipletests(p_values, method="holm")[1]
    assert [recall.p for recall in row.recalls.values()] == pytest.approx(expected.tolist())
    assert all(0 <= recall.low < recall.mean < recall.high <= 1 for recall in row.recalls.values())


def test_without_predictions_intervals_are_over_seeds_and_the_table_says_so(tmp_path):
    paths = write(tmp_path, SKILLS, 5)
    for path in paths:
        if "fixmatch" in str(path):
            (path.parent / PREDICTIONS).unlink()
    table = table_of(paths)
    gains = {row.name: row.gain for row in table.rows}
    assert (gains["fixmatch"].images, gains["leaf"].images) == (None, 210)
    differences = [gain for row in table.rows if row.name == "fixmatch" for gain in row.by_seed.values()]
    baseline = next(row for row in table.rows if row.name == "supervised@weak").by_seed.values()
    test = stats.ttest_rel(differences, list(baseline))
    assert (gains["fixmatch"].low, gains["fixmatch"].high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert any("records of fixmatch have no predictions file" in note for note in table.notes)


def pair(p):
    return Paired(0.1, 0.0, 0.2, 5, p)


def groups_of(rows, pairs):
    """The groups of the ties, by number, each as its rows."""
    found = ties_of(rows, pairs)
    numbers = {number for groups in found.groups.values() for number in groups}
    return [[row for row in rows if number in found.groups[row]] for number in sorted(numbers)]


def test_groups_are_the_longest_runs_of_rows_that_are_not_told_apart():
    random = np.random.default_rng(0)
    for _ in range(50):
        rows = [f"row{number}" for number in range(7)]
        pairs = {names: pair(float(random.choice([1e-6, 0.9, 0.9]))) for names in combinations(rows, 2)}
        tied = {row: {row} for row in rows}
        for (one, other), each in pairs.items():
            if each.p_unadjusted > 0.5:
                tied[one].add(other)
                tied[other].add(one)
        runs = [rows[start:end] for start, end in combinations(range(8), 2)]
        whole = [run for run in runs if all(set(run) <= tied[row] for row in run)]
        longest = [run for run in whole if not any(set(run) < set(other) for other in whole)]
        assert groups_of(rows, pairs) == sorted(longest, key=lambda run: rows.index(run[0]))
        assert {row: {row, *others} for row, others in ties_of(rows, pairs).tied_with.items()} == tied


def test_rows_of_a_group_are_consecutive():
    pairs = {("a", "b"): pair(1e-6), ("a", "c"): pair(0.9), ("b", "c"): pair(0.9)}
    assert ties_of(["a", "b", "c"], pairs).tied_with["a"] == ("c",)
    assert groups_of(["a", "b", "c"], pairs) == [["a"], ["b", "c"]]


def test_a_large_table_has_at_most_one_group_for_each_row():
    random = np.random.default_rng(0)
    rows = [f"row{number}" for number in range(60)]
    pairs = {(one, other): pair(0.9 if random.random() < 0.8 else 1e-9) for one, other in combinations(rows, 2)}
    groups = groups_of(rows, pairs)
    assert len(groups) <= len(rows)
    assert len({group[0] for group in groups}) == len(groups)
    found = ties_of(rows, pairs)
    assert all((other in found.tied_with[one]) == (each.p_unadjusted > 0.5) for (one, other), each in pairs.items())


def test_a_pair_without_five_seeds_leaves_the_whole_table_open():
    pairs = {("a", "b"): pair(0.001), ("a", "c"): pair(0.001), ("b", "c"): Paired(0.1, 0.0, 0.2, 4, 0.001)}
    assert ties_of(["a", "b", "c"], pairs) is None
    assert ties_of(["a"], {}) is None
