"""What Ada-CM's released training loop does otherwise."""

import pytest
import torch

from ferbench.blocks import ReleasedLoop, decay_state
from tests.golden.steps import LabeledPass


def test_decayed_state_includes_the_statistics_of_batchnorm() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    net(torch.randn(8, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    decay_state(net, torch.tensor(0.25))
    for name, value in net.state_dict().items():
        expected = before[name] * 0.75 if value.is_floating_point() else before[name]
        torch.testing.assert_close(value, expected, msg=name)


@pytest.mark.parametrize(("decay", "factor"), [(0.02, 1 - 0.02 * 0.5), (0.0, 1.0)])
def test_state_decays_with_the_learning_rate_instead_of_weights(decay: float, factor: float) -> None:
    loop, net = ReleasedLoop(state_decay=decay), torch.nn.BatchNorm1d(3)
    loop.after_step(net, torch.tensor(0.5))
    assert net.running_var is not None
    assert net.running_var.tolist() == pytest.approx([factor] * 3)
    settings = loop.optimizer
    assert (settings.values if settings else None) == ({"weight_decay": 0.0} if decay else None)


def test_by_default_nothing_differs_from_the_papers() -> None:
    described, labeled = ReleasedLoop(), LabeledPass(1, torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    described.labeled_pass(labeled)
    assert labeled.asked == {"view": "plain", "drop_last": False}
    assert (described.joint_forward, described.optimizer) == (None, None)
    released = ReleasedLoop(augmented_statistics=True, separate_forwards=True)
    released.labeled_pass(labeled)
    assert labeled.asked == {"view": "weak", "drop_last": True}
    assert released.joint_forward is False
