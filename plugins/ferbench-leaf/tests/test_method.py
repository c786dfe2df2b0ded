"""What sets LEAF's described and released loss apart."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from ferbench.conformance.toy_task import INFO
from ferbench.contract.batch import Batch, Losses, StepInfo, ViewSet
from ferbench_leaf.category import CategoryOptions, ambiguous_loss, category_loss
from ferbench_leaf.method import Leaf


def leaf(variant: str = "described", **options: Any) -> Leaf:
    return Leaf(Leaf.Config.model_validate({**Leaf.variants[variant], **options}))


def category(variant: str, *logits_labels_and_mask: torch.Tensor) -> torch.Tensor:
    """The category loss as the variant has it."""
    c = leaf(variant).config
    quirks = {"off_by_one": c.released.off_by_one, "batch_mask": c.released.batch_mask}
    return category_loss(*logits_labels_and_mask, c.category, **quirks)


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strong logits of 16 images, mean weak logits, pseudo-labels, and a mask with one image."""
    generator = torch.Generator().manual_seed(0)
    strong = torch.randn(16, 7, generator=generator).requires_grad_()
    weak = torch.randn(16, 7, generator=generator)
    mask = torch.zeros(16)
    mask[3] = 1
    return strong, weak, weak.argmax(1), mask


def test_described_the_mask_chooses_images(logits) -> None:  # type: ignore[no-untyped-def]
    strong, weak, pseudo_label, mask = logits
    loss = category("described", strong, weak, pseudo_label, mask)
    per_image, weight = ambiguous_loss(strong, weak)
    torch.testing.assert_close(loss, (per_image * weight)[3] / 16)
    loss.backward()
    assert (strong.grad.abs().sum(1) > 0).nonzero().flatten().tolist() == [3]


def test_released_every_image_trains_whatever_the_mask(logits) -> None:  # type: ignore[no-untyped-def]
    strong, weak, pseudo_label, mask = logits
    loss = category("released", strong, weak, pseudo_label, mask)
    # the balance factor makes the value that of the cross-entropy, times the mask rate
    torch.testing.assert_close(loss, F.cross_entropy(strong, pseudo_label) / 16)
    loss.backward()
    assert (strong.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("variant", ["described", "released"])
def test_what_is_undecided_or_certain_stays_finite(variant: str) -> None:
    pseudo_label, mask = torch.zeros(4, dtype=torch.int64), torch.ones(4)
    certain = 200 * F.one_hot(pseudo_label, 7).float()
    for strong, weak in ((certain, certain), (torch.randn(4, 7), torch.zeros(4, 7))):
        strong = strong.clone().requires_grad_()
        loss = category(variant, strong, weak, pseudo_label, mask)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(strong.grad).all()


def test_after_a_step_only_released_decays_all_state() -> None:
    nothing, none, learning_rate = ViewSet({}, torch.arange(0), {}), torch.arange(0), torch.tensor(0.5)
    for variant, factor in (("released", 1 - 0.02 * 0.5), ("described", 1.0)):
        method = leaf(variant)
        net = torch.nn.BatchNorm1d(3)
        method.attach(net, net, torch.Generator(), INFO)  # type: ignore[arg-type]
        batch = Batch(nothing, None, none, none, torch.tensor(0), torch.tensor(0.0), learning_rate)
        method.after_step(StepInfo(batch, Losses(torch.tensor(0.0))))
        assert net.running_var.tolist() == pytest.approx([factor] * 3)


def test_without_the_category_level_it_is_cross_entropy_above_the_margin(logits) -> None:  # type: ignore[no-untyped-def]
    strong, weak, pseudo_label, mask = logits
    loss = category_loss(strong, weak, pseudo_label, mask, CategoryOptions(ambiguous=False))
    torch.testing.assert_close(loss, F.cross_entropy(strong[3:4], pseudo_label[3:4]) / 16)


def test_released_is_one_shared_expert_with_inert_gates() -> None:
    head = leaf("released").make_head(12, 3)
    for level in head.levels.values():  # type: ignore[union-attr, operator]
        assert len(level.relevant.experts) == 1
        assert level.relevant.top_k == 1
        assert level.agnostic is None
    assert head(torch.randn(4, 12)).aux_loss is None
    described = leaf().make_head(12, 3)
    assert [len(level.relevant.experts) for level in described.levels.values()] == [8, 8]  # type: ignore[union-attr, operator]


def test_released_keeps_the_quirks_of_ada_cms_code() -> None:
    released = leaf("released")
    assert released.joint_forward is False
    settings = released.stages()[0].optimizer
    assert settings is not None and settings.values == {"weight_decay": 0.0}
    assert leaf().joint_forward is None
    assert leaf().stages()[0].optimizer is None


def test_more_experts_per_image_than_there_are_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"top_k 5 must be at most.* 4"):
        leaf(head={"experts": 4, "top_k": 5})
