"""Ada-CM's margin, contrast and whole loss against the released code's values."""

from typing import Any

import pytest
import torch

from ferbench.blocks import nt_xent
from ferbench.contract.batch import Batch
from ferbench_ada_cm.method import AdaCM
from tests.golden.steps import LabeledPass, forwarded_step, info_of

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def ada_cm() -> AdaCM:
    method = AdaCM(AdaCM.Config())
    method.setup(None, info_of(7))  # type: ignore[arg-type]
    return method


@pytest.mark.parametrize("case", range(5))
def test_the_margins_after_an_epoch(golden: dict[str, Any], case: int) -> None:
    values = golden["adacm_margin"][case]
    method = ada_cm()
    shown = method.end_epoch(
        LabeledPass(values["epoch"], torch.tensor(values["logits"]), torch.tensor(values["targets"]))
    )
    torch.testing.assert_close(method.margin.threshold, torch.tensor(values["margin"]), **TOLERANCE)
    torch.testing.assert_close(shown["margin"], method.margin.threshold)


@pytest.mark.parametrize("case", range(3))
def test_the_contrast_and_its_gradient(golden: dict[str, Any], case: int) -> None:
    values = golden["adacm_contrastive"][case]
    features = torch.tensor(values["features"], requires_grad=True)
    loss = nt_xent(features[:, 0], features[:, 1], torch.ones(len(features)), 0.07)
    loss.backward()
    torch.testing.assert_close(loss.item(), values["loss"], **TOLERANCE)
    torch.testing.assert_close(features.grad, torch.tensor(values["grad"]), **TOLERANCE)


@pytest.mark.parametrize("case", range(3))
def test_a_whole_step(golden: dict[str, Any], case: int) -> None:
    values = golden["adacm_step"][case]
    method = ada_cm()
    method.margin.threshold.copy_(torch.tensor(values["margin"]))

    method.forward_views = lambda batch: forwarded_step(values)  # type: ignore[method-assign, assignment]
    labels, nothing = torch.tensor(values["targets"]), torch.zeros(())
    losses = method.loss(Batch(None, None, labels, nothing, nothing, nothing, nothing))  # type: ignore[arg-type]

    assert losses.mask is not None
    assert losses.mask.tolist() == values["mask"]
    for term, key in (("supervised", "loss_x"), ("unlabeled", "loss_u"), ("contrast", "loss_s")):
        torch.testing.assert_close(losses.terms[term].item(), values[key], **TOLERANCE)
    torch.testing.assert_close(losses.total.item(), values["loss"], **TOLERANCE)
