"""Options of our own plugins that belong to no variant: their losses wait for nothing either."""

from typing import Any

import pytest
import torch

from ferbench.conformance.static_check import check_static
from ferbench.conformance.toy_task import INFO
from ferbench.contract.method import Method
from ferbench.functional import decay_state
from ferbench_ada_cm.method import AdaCM
from ferbench_leaf.method import Leaf


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (AdaCM, {"margin": "iteration"}),
        (AdaCM, {"margin": "fixed"}),
        (AdaCM, {"contrast_weight": 0}),
        (Leaf, {"category": False}),
        (Leaf, {"batch_mask": True}),
        (Leaf, {"semantic": False, "instance": False}),
        (Leaf, {"decoupled": False}),
        (Leaf, {"experts": 3, "top_k": 3}),
        (Leaf, {"off_by_one": True}),
    ],
)
def test_losses_read_no_value(method: type[Method], options: dict[str, Any]) -> None:
    check_static(method, method.Config.model_validate(options), INFO)


def test_the_decay_of_all_state_reads_no_value() -> None:
    decay_state(torch.nn.BatchNorm1d(3, device="meta"), torch.zeros((), device="meta"))
