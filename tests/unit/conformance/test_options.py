"""Options of our own plugins that belong to no variant: their losses wait for nothing either."""

from typing import Any

import pytest
import torch

from ferbench.blocks import decay_state
from ferbench.conformance.static_check import check_static
from ferbench.conformance.toy_task import INFO
from ferbench.contract.method import Method
from ferbench_ada_cm.method import AdaCM
from ferbench_leaf.method import Leaf


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (AdaCM, {"margin": {"update": "iteration"}}),
        (AdaCM, {"margin": {"update": "fixed"}}),
        (AdaCM, {"contrast_weight": 0}),
        (Leaf, {"margin": {"update": "iteration"}}),
        (Leaf, {"category": {"ambiguous": False}}),
        (Leaf, {"released": {"batch_mask": True}}),
        (Leaf, {"head": {"semantic": False, "instance": False}}),
        (Leaf, {"head": {"decoupled": False}}),
        (Leaf, {"head": {"experts": 3, "top_k": 3}}),
        (Leaf, {"released": {"off_by_one": True}}),
    ],
)
def test_losses_read_no_value(method: type[Method], options: dict[str, Any]) -> None:
    check_static(method, method.Config.model_validate(options), INFO)


def test_the_decay_of_all_state_reads_no_value() -> None:
    decay_state(torch.nn.BatchNorm1d(3, device="meta"), torch.zeros((), device="meta"))
