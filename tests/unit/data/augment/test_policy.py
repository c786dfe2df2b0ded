"""The distribution of what is drawn: operations, magnitudes, cutout squares, crops and flips."""

import numpy as np
import pytest
import torch
from scipy import stats

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.operations import MAGNITUDES, Operation, RandAugmentParameters
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.weak import Weak, WeakParameters

LEVEL = 1e-3  # seeds are fixed: a failure is a change, not bad luck
COUNT = 20_000


@pytest.fixture(scope="module")
def drawn() -> RandAugmentParameters:
    return RandAugment().draw(COUNT, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def weak() -> WeakParameters:
    return Weak().draw(COUNT, torch.Generator().manual_seed(2))


def test_operations_are_equally_frequent_in_each_round(drawn: RandAugmentParameters) -> None:
    assert drawn.operation.shape == (3, COUNT)
    for round_ in drawn.operation.numpy():
        assert stats.chisquare(np.bincount(round_, minlength=len(Operation))).pvalue > LEVEL


def test_rounds_are_independent(drawn: RandAugmentParameters) -> None:
    first, second, third = drawn.operation.numpy()
    for one, other in ((first, second), (first, third), (second, third)):
        pairs = np.bincount(one * len(Operation) + other, minlength=len(Operation) ** 2)
        assert stats.chisquare(pairs).pvalue > LEVEL


@pytest.mark.parametrize("operation", list(Operation), ids=lambda operation: operation.name.lower())
def test_magnitudes_are_uniform(operation: Operation, drawn: RandAugmentParameters) -> None:
    low, high = MAGNITUDES[operation]
    values = drawn.magnitude[drawn.operation == operation].numpy()
    if low == high:
        assert (values == low).all()
    else:
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > LEVEL


def test_posterize_keeps_four_to_seven_bits(drawn: RandAugmentParameters) -> None:
    bits = drawn.magnitude[drawn.operation == Operation.POSTERIZE].int().numpy()
    assert stats.chisquare(np.bincount(bits)[4:]).pvalue > LEVEL
    assert set(bits) == {4, 5, 6, 7}


@pytest.mark.parametrize("axis", [0, 1], ids=["x", "y"])
def test_cutout_sides_and_centres_are_uniform(axis: int) -> None:
    width, height = 100_000, 130_000  # so large that whole pixels do not show
    extent = (width, height)[axis]
    squares = Cutout().draw(COUNT, height, width, torch.Generator().manual_seed(3)).numpy()
    start, end = squares[:, axis], squares[:, axis + 2]
    side, centre = end - start, (start + end) / 2
    # A square cut at a border is centred within width / 4 of it: those in between are whole.
    whole = (centre > 0.3 * extent) & (centre < 0.7 * extent)
    assert stats.binomtest(int(whole.sum()), COUNT, 0.4).pvalue > LEVEL
    assert stats.kstest(side[whole], stats.uniform(0, width / 2).cdf).pvalue > LEVEL
    assert stats.kstest(centre[whole], stats.uniform(0.3 * extent, 0.4 * extent).cdf).pvalue > LEVEL


def test_cutout_size_and_centre_are_independent() -> None:
    squares = Cutout().draw(COUNT, 100_000, 100_000, torch.Generator().manual_seed(4)).numpy()
    x0, y0, x1, y1 = squares.T
    whole = (x0 > 25_000) & (x1 < 75_000) & (y0 > 25_000) & (y1 < 75_000)
    assert stats.spearmanr((x0 + x1)[whole], (y0 + y1)[whole]).pvalue > LEVEL
    assert stats.spearmanr((x1 - x0)[whole], (x0 + x1)[whole]).pvalue > LEVEL


def test_crops_are_uniform_where_they_happen(weak: WeakParameters) -> None:
    dx, dy = weak.dx.numpy(), weak.dy.numpy()
    offsets = np.bincount((dy + 4) * 9 + dx + 4, minlength=81)
    expected = np.full(81, COUNT * 0.5 / 81)
    expected[40] += COUNT * 0.5  # not cropped
    assert stats.chisquare(offsets, expected).pvalue > LEVEL


def test_flips_are_independent_of_crops(weak: WeakParameters) -> None:
    flip, moved = weak.flip.numpy(), (weak.dx != 0).numpy()
    assert stats.binomtest(int(flip.sum()), COUNT, 0.5).pvalue > LEVEL
    assert stats.chi2_contingency(np.histogram2d(flip, moved, bins=2)[0]).pvalue > LEVEL


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probabilities_zero_and_one(probability: float) -> None:
    weak = Weak(padding=6, crop_probability=probability, flip_probability=probability)
    drawn = weak.draw(COUNT, torch.Generator().manual_seed(5))
    assert (drawn.flip == bool(probability)).all()
    assert drawn.dx.abs().max() == drawn.dy.abs().max() == 6 * probability
