"""NT-Xent against a loop over anchors and against the gathered subset; projections and similarities by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ferbench.blocks import Projection, nt_xent, similarity

TEMPERATURE = 0.07


def unit(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = torch.nn.functional.normalize(torch.randn(2, rows, 8, generator=generator, dtype=torch.float64), dim=-1)
    return made[0].requires_grad_(), made[1].requires_grad_()


def reference(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent as a loop over anchors, on the pairs that are given."""
    anchors = [*first, *second]
    total = torch.zeros((), dtype=first.dtype)
    for i, anchor in enumerate(anchors):
        others = [torch.exp(anchor @ other / temperature) for j, other in enumerate(anchors) if j != i]
        positive = anchors[(i + len(first)) % len(anchors)]
        total = total - torch.log(torch.exp(anchor @ positive / temperature) / torch.stack(others).sum())
    return total / max(1, len(anchors))


@settings(max_examples=40, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=1, max_size=9), seed=st.integers(0, 1000))
def test_the_masked_contrast_is_the_contrast_of_the_gathered_subset(mask: list[bool], seed: int) -> None:
    first, second = unit(len(mask), seed)
    kept = torch.tensor(mask)
    loss = nt_xent(first, second, kept.double(), TEMPERATURE)
    loss.backward()
    grads = [first.grad, second.grad]
    first.grad = second.grad = None
    expected = reference(first[kept], second[kept], TEMPERATURE)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    if kept.any():
        expected.backward()
    for tensor, grad in zip((first, second), grads, strict=True):
        assert grad is not None
        wanted = torch.zeros_like(grad) if tensor.grad is None else tensor.grad
        torch.testing.assert_close(grad, wanted, rtol=1e-8, atol=1e-9)


def test_the_contrast_is_as_exact_under_autocast() -> None:
    first, second = (tensor.detach().float().requires_grad_() for tensor in unit(64, 3))
    near = torch.nn.functional.normalize(first + 0.01 * second, dim=-1)
    exact = nt_xent(first, near, torch.ones(64), TEMPERATURE)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = nt_xent(first, near, torch.ones(64), TEMPERATURE)
    torch.testing.assert_close(under_autocast, exact)


@pytest.mark.parametrize("size", [1, 5])
def test_an_empty_subset_costs_nothing_and_moves_nothing(size: int) -> None:
    first, second = unit(size, 0)
    loss = nt_xent(first, second, torch.zeros(size, dtype=torch.float64), TEMPERATURE)
    loss.backward()
    assert loss.item() == 0
    assert first.grad is not None and not first.grad.any()


def test_the_contrast_needs_no_values() -> None:
    features = torch.zeros(6, 4, device="meta")
    assert nt_xent(features, features, torch.zeros(6, device="meta"), TEMPERATURE).shape == ()


def test_similarities_are_inner_products_over_the_temperature_in_full_precision() -> None:
    first, second = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[3.0, 1.0], [1.0, 1 / 3], [0.0, 2.0]])
    expected = torch.tensor([[5.0, 5 / 3, 4.0], [1.0, 1 / 3, 2.0]]) / 0.1
    torch.testing.assert_close(similarity(first, second, 0.1), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(similarity(first, second, 0.1), similarity(first, second, 0.1).float())
        torch.testing.assert_close(similarity(first, second, 0.1), expected)


def test_a_projection_is_two_layers_and_a_unit_vector() -> None:
    project, features = Projection(3, 2), torch.tensor([[1.0, -2.0, 3.0]])
    with torch.no_grad():
        project.layers[0].weight.copy_(torch.eye(3))
        project.layers[0].bias.zero_()
        project.layers[2].weight.copy_(torch.tensor([[1.0, 9.0, 0.0], [0.0, 9.0, 1.0]]))
        project.layers[2].bias.copy_(torch.tensor([2.0, 1.0]))
        found = project(features)  # (1, 0, 3) becomes (3, 4)
        torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))
        with torch.autocast("cpu", torch.bfloat16):
            assert project(features).dtype == torch.float32
