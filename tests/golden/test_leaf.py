"""LEAF's category loss, unlabeled loss and gating against the released code's values."""

from typing import Any

import pytest
import torch

from ferbench.blocks import ClassThresholds
from ferbench.contract.batch import Batch
from ferbench_leaf.category import CategoryOptions, ambiguous_loss, category_loss
from ferbench_leaf.head import ExpertMixture
from ferbench_leaf.method import Leaf
from tests.golden.steps import LabeledPass, forwarded_step, info_of

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("case", range(4))
def test_the_ambiguous_loss_and_its_gradient(golden: dict[str, Any], case: int) -> None:
    values = golden["leaf_ambiguous_loss"][case]
    logits = torch.tensor(values["logits_strong"], requires_grad=True)
    reference = torch.tensor(values["logits_weak_mean"])
    loss, weight = ambiguous_loss(logits, reference, positives=values["k"], off_by_one=True)
    torch.testing.assert_close(loss, torch.tensor(values["loss"]), **TOLERANCE)
    torch.testing.assert_close(weight, torch.tensor(values["weight"]), **TOLERANCE)
    (loss * weight).mean().backward()
    torch.testing.assert_close(logits.grad, torch.tensor(values["grad_of_mean_weighted"]), **TOLERANCE)


@pytest.mark.parametrize("case", range(2))
def test_the_released_loss_of_unlabeled_images(golden: dict[str, Any], case: int) -> None:
    values = golden["leaf_unlabeled_loss"][case]
    weak1, weak2, strong = (torch.tensor(values[f"logits_{name}"]) for name in ("weak1", "weak2", "strong"))
    strong.requires_grad_()
    margin = ClassThresholds(7, 0.0)
    margin.threshold.copy_(torch.tensor(values["margin"]))
    pseudo_label, mask = margin((weak1.softmax(-1) + weak2.softmax(-1)) / 2)
    assert mask.tolist() == values["mask"]
    quirks = {"off_by_one": True, "batch_mask": True}
    loss = category_loss(strong, (weak1 + weak2) / 2, pseudo_label, mask, CategoryOptions(), **quirks)
    torch.testing.assert_close(loss.item(), values["loss_u"], **TOLERANCE)
    loss.backward()
    # the balance factor hides the value of the ambiguous loss, not its gradient
    alone = strong.detach().clone().requires_grad_()
    per_image, weight = ambiguous_loss(alone, (weak1 + weak2) / 2, off_by_one=True)
    (values["balance"] * (per_image * weight).mean() * sum(values["mask"]) / len(values["mask"])).backward()
    torch.testing.assert_close(strong.grad, alone.grad, **TOLERANCE)


def test_the_released_mixture_of_experts(golden: dict[str, Any]) -> None:
    values = golden["leaf_moe_eval"]
    mixture = ExpertMixture(16, experts=8, top_k=1, shared=True).eval()
    assert len(mixture.experts) == values["n_distinct_experts"]
    mixture.gate.data = torch.tensor(values["w_gate"])
    weights = {name.removeprefix("fc."): torch.tensor(value) for name, value in values["expert"].items()}
    mixture.experts[0].load_state_dict(weights)
    mixed, gates, _ = mixture(torch.tensor(values["input"]))
    torch.testing.assert_close(mixed, torch.tensor(values["output"]), **TOLERANCE)
    assert ((gates == 0) | (gates == 1)).all(), "with k = 1 a gate is 1 whatever its weights: it cannot learn"


@pytest.mark.parametrize("case", range(3))
def test_a_whole_step_on_ada_cms_margins_and_contrast(golden: dict[str, Any], case: int) -> None:
    values = golden["adacm_step"][case]
    method = Leaf(Leaf.Config(category=CategoryOptions(ambiguous=False)))
    method.setup(None, info_of(7))  # type: ignore[arg-type]
    method.margin.threshold.copy_(torch.tensor(values["margin"]))
    method.forward_views = lambda batch: forwarded_step(values)  # type: ignore[method-assign, assignment]
    labels, nothing = torch.tensor(values["targets"]), torch.zeros(())
    losses = method.loss(Batch(None, None, labels, nothing, nothing, nothing, nothing))  # type: ignore[arg-type]

    assert losses.mask is not None and losses.mask.tolist() == values["mask"]
    first, second = (torch.tensor(values[f"logits_weak{view}"]).softmax(-1).tolist() for view in (1, 2))
    rows = zip(first, second, strict=True)
    consistency = sum((a - b) ** 2 for p, q in rows for a, b in zip(p, q, strict=True)) / len(first)
    expected = {"supervised": "loss_x", "unlabeled": "loss_u", "contrast": "loss_s"}
    for term, key in expected.items():
        torch.testing.assert_close(losses.terms[term].item(), values[key], **TOLERANCE)
    torch.testing.assert_close(losses.terms["consistency"].item(), consistency, **TOLERANCE)
    torch.testing.assert_close(losses.total.item(), values["loss"] + consistency, **TOLERANCE)


@pytest.mark.parametrize("case", range(5))
def test_the_margins_after_an_epoch_are_ada_cms(golden: dict[str, Any], case: int) -> None:
    values = golden["adacm_margin"][case]
    method = Leaf(Leaf.Config())
    method.setup(None, info_of(7))  # type: ignore[arg-type]
    labeled = LabeledPass(values["epoch"], torch.tensor(values["logits"]), torch.tensor(values["targets"]))
    shown = method.end_epoch(labeled)
    torch.testing.assert_close(method.margin.threshold, torch.tensor(values["margin"]), **TOLERANCE)
    assert torch.equal(shown["margin"], method.margin.threshold)
    assert labeled.asked == {"view": "plain", "drop_last": False}
    released = Leaf(Leaf.Config.model_validate(Leaf.variants["released"]))
    released.setup(None, info_of(7))  # type: ignore[arg-type]
    released.end_epoch(labeled)
    assert labeled.asked == {"view": "weak", "drop_last": True}
