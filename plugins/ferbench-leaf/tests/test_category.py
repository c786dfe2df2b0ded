"""The category level against loops over classes, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ferbench_leaf.category import ambiguous_loss

N_CLASSES = 7


def reference(logits: list[float], prediction: list[float], most: int, mass: float) -> tuple[float, float]:
    """Loss and weight of one image, written from the definition."""
    order = sorted(range(len(prediction)), key=lambda c: -prediction[c])
    n = next((i for i in range(1, most) if sum(prediction[c] for c in order[:i]) >= mass), most)
    pairs = sum(math.exp(logits[b] - logits[a]) for a in order[:n] for b in order[n:])
    mean = sum(prediction[c] for c in order[: n + 1]) / (n + 1)
    distance = mean - prediction[order[n]]
    return math.log(1 + pairs), min(1.0, math.log(1 + 50 * distance) / math.log(1 + 50 * mean))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), scale=st.floats(0.1, 6), most=st.integers(1, 6), mass=st.sampled_from([0.5, 0.9, 0.99])
)
def test_the_described_loss_is_its_definition(seed: int, scale: float, most: int, mass: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    strong, weak = scale * torch.randn(2, 4, N_CLASSES, generator=generator, dtype=torch.float64)
    loss, weight = ambiguous_loss(strong, weak, positives=most, mass=mass)
    for row in range(4):
        prediction = weak[row].softmax(-1).tolist()
        expected = reference(strong[row].tolist(), prediction, most, mass)
        assert (loss[row].item(), weight[row].item()) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_the_released_code_counts_the_mass_of_a_class_too_many() -> None:
    """At 0.88 + 0.07: the described rule takes two classes, the released one counts the second's mass for the first."""
    weak = torch.tensor([[0.88, 0.07, 0.03, 0.01, 0.005, 0.003, 0.002]]).log()
    strong = torch.tensor([[1.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    described, _ = ambiguous_loss(strong, weak)
    released, _ = ambiguous_loss(strong, weak, off_by_one=True)
    assert released > 8 > 2 > described


def test_an_undecided_prediction_weighs_little() -> None:
    even, sure = torch.zeros(1, N_CLASSES), torch.tensor([[9.0, 0, 0, 0, 0, 0, 0]])
    assert ambiguous_loss(sure, even)[1].item() == pytest.approx(0, abs=1e-6)
    assert ambiguous_loss(sure, sure)[1].item() > 0.7


def test_a_negative_class_always_remains() -> None:
    logits = torch.randn(5, 2, requires_grad=True)
    loss, weight = ambiguous_loss(logits, torch.zeros(5, 2))
    assert torch.isfinite(loss).all() and torch.isfinite(weight).all()
    loss.sum().backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_the_reference_gets_no_gradient() -> None:
    reference_logits = torch.randn(3, N_CLASSES, requires_grad=True)
    loss, weight = ambiguous_loss(torch.randn(3, N_CLASSES, requires_grad=True), reference_logits)
    (loss * weight).sum().backward()
    assert reference_logits.grad is None


def test_the_gradient_is_that_of_finite_differences() -> None:
    strong = torch.randn(3, N_CLASSES, dtype=torch.float64, requires_grad=True)
    weak = torch.randn(3, N_CLASSES, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: ambiguous_loss(z, weak)[0], (strong,))
