"""The linear probe: the head learns, nothing else changes, and without initial weights it is refused."""

from pathlib import Path

import pytest
import torch

from ferbench.builtin.methods.linear_probe import LinearProbe
from ferbench.cells.request import RunRequest
from ferbench.conformance.toy_task import toy_training
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.plan import make_plan
from ferbench.training.loop import train


def test_the_head_alone_learns_on_features_of_the_net_as_it_came(tmp_path: Path) -> None:
    training = toy_training(LinearProbe(LinearProbe.Config()), tmp_path)
    net = training.run.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(training)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("head.")}
    assert net.training and not any(module.training for module in net.backbone.modules())


def test_without_initial_weights_it_is_refused(registry: Registry, patterns: Path, tmp_path: Path) -> None:
    request = RunRequest(
        methods=["linear-probe"], datasets=[str(patterns)], ratios=["0.1"], backbones=["small-resnet/4"],
        overrides={"image_size": 16}, runs=tmp_path / "runs", device="cpu",
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"'linear-probe'.*--init"):
        make_plan(request, registry)
