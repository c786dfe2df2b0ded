"""DTM's thresholds and whole loss against the values of the public code of that name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.contract.batch import Batch, ViewSet
from ferbench_dtm.method import Dtm
from tests.golden.steps import LabeledPass, forwarded_step, info_of

TOLERANCE = {"rtol": 0.0, "atol": 1e-6}
VARIANTS = ("from-code", "released")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "reference_dtm.json").read_text("utf-8"))


def dtm(variant: str) -> Dtm:
    method = Dtm(Dtm.Config.model_validate(Dtm.variants[variant]))
    method.setup(None, info_of(8))  # type: ignore[arg-type]
    return method


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_thresholds_of_six_epochs_of_which_one_loses_a_class(golden: dict[str, Any], variant: str) -> None:
    method = dtm(variant)
    torch.testing.assert_close(method.thresholds.threshold, torch.full((8,), 0.8))
    for values in golden["dtm_threshold"]:
        labeled = LabeledPass(values["epoch"], torch.tensor(values["logits"]), torch.tensor(values["labels"]))
        shown = method.end_epoch(labeled)
        torch.testing.assert_close(shown["threshold"], torch.tensor(values["threshold"]), **TOLERANCE)
        assert labeled.asked == {"view": "weak", "drop_last": True} or variant == "from-code"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", range(2))
def test_a_whole_step(golden: dict[str, Any], variant: str, case: int) -> None:
    values = golden["dtm_step"][case]
    method = dtm(variant)
    method.thresholds.threshold.copy_(torch.tensor(values["threshold"]))
    method.forward_views = lambda batch: forwarded_step(values)  # type: ignore[method-assign, assignment]
    labels, nothing = torch.tensor(values["labels"]), torch.zeros(())
    unlabeled = ViewSet({}, torch.arange(len(values["mask"])), {})
    losses = method.loss(Batch(None, unlabeled, labels, nothing, nothing, nothing, nothing))  # type: ignore[arg-type]

    assert losses.mask is not None
    assert losses.mask.tolist() == values["mask"]
    for term, key in (("supervised", "L_x"), ("unlabeled", "L_u")):
        torch.testing.assert_close(losses.terms[term].item(), values[key], **TOLERANCE)
    torch.testing.assert_close(losses.total.item(), values["loss"], **TOLERANCE)
    assert losses.terms.keys() == {"supervised", "unlabeled"}, "no contrast"
