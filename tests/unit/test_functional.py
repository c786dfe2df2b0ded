"""The shared loss terms against references written differently: loops, gathered subsets, numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ferbench.contract.batch import PoolPredictions
from ferbench.functional import class_confidence, confidence_margin, decay_state, nt_xent

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


def test_class_confidence_is_the_mean_over_correct_images() -> None:
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(200) % 3  # class 3 has no image
    confidence, counts = class_confidence(logits, labels)
    exact = logits.double().numpy()
    probability = np.exp(exact) / np.exp(exact).sum(1, keepdims=True)
    for name in range(4):
        chosen = (labels.numpy() == name) & (probability.argmax(1) == name)
        assert counts[name] == chosen.sum()
        mean = probability[chosen].max(1).mean() if chosen.any() else 0
        assert confidence[name].item() == pytest.approx(mean, abs=1e-6)


def test_the_margin_rises_with_epochs_and_stays_between_floor_and_decay() -> None:
    sure = PoolPredictions(20.0 * torch.eye(3), torch.arange(3), torch.arange(3))
    margins = [confidence_margin(sure, epoch, floor=0.8, decay=0.97)[0].item() for epoch in range(1, 21)]
    assert margins[:2] == pytest.approx([0.8, 0.854], abs=1e-3)  # 0.97 / (1 + e^-t) is 0.709, 0.854, ...
    assert margins == sorted(margins)
    assert margins[-1] == pytest.approx(0.97, abs=1e-6)
    wrong = PoolPredictions(20.0 * torch.eye(3), torch.tensor([1, 2, 0]), torch.arange(3))
    assert confidence_margin(wrong, 20, floor=0.8, decay=0.97).tolist() == pytest.approx([0.8] * 3)


def test_decayed_state_includes_the_statistics_of_batchnorm() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    net(torch.randn(8, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    decay_state(net, torch.tensor(0.25))
    for name, value in net.state_dict().items():
        expected = before[name] * 0.75 if value.is_floating_point() else before[name]
        torch.testing.assert_close(value, expected, msg=name)
