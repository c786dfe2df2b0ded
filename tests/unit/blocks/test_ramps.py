"""Weights that rise."""

import math

import pytest
import torch

from ferbench.blocks import gaussian_ramp, linear_ramp


@pytest.mark.parametrize(("progress", "expected"), [(0, 0), (0.1, 0), (0.2, 0.25), (0.5, 1), (1, 1)])
def test_a_line_between_begin_and_end(progress: float, expected: float) -> None:
    assert linear_ramp(torch.tensor(float(progress)), 0.5, 0.1).item() == pytest.approx(expected, abs=1e-6)


def test_a_ramp_of_no_length_is_a_step() -> None:
    assert [linear_ramp(torch.tensor(t), 0.5, 0.5).item() for t in (0.4, 0.6)] == [0, 1]
    assert [linear_ramp(torch.tensor(t), 0.0).item() for t in (0.01, 1.0)] == [1, 1]


@pytest.mark.parametrize(
    ("progress", "expected"), [(0, math.exp(-5)), (0.1, math.exp(-5 * 0.75**2)), (0.4, 1), (0.9, 1)]
)
def test_the_bell_of_laine_and_aila(progress: float, expected: float) -> None:
    assert gaussian_ramp(torch.tensor(float(progress)), 0.4).item() == pytest.approx(expected)
