"""LEAF's category loss, unlabeled loss and gating against the released code's values."""

from typing import Any

import pytest
import torch

from ferbench_leaf.category import ambiguous_loss
from ferbench_leaf.head import ExpertMixture
from ferbench_leaf.method import Leaf

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
    released = Leaf(Leaf.Config.model_validate(Leaf.variants["released"]))
    released.margin = torch.tensor(values["margin"])
    pseudo_label, mask = released.pseudo_labels(weak1, weak2)
    assert mask.tolist() == values["mask"]
    loss = released.category_loss(strong, (weak1 + weak2) / 2, pseudo_label, mask)
    torch.testing.assert_close(loss.item(), values["loss_u"], **TOLERANCE)
    per_image, weight = ambiguous_loss(strong, (weak1 + weak2) / 2, off_by_one=True)
    ratio = torch.nn.functional.cross_entropy(strong, pseudo_label) / (per_image * weight).mean()
    torch.testing.assert_close(ratio.item(), values["balance"], **TOLERANCE)


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
