"""The EMA against a plain loop over the state dict."""

import copy
from pathlib import Path

import pytest
import torch

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import RECIPE, toy_network, toy_training
from ferbench.training.teacher import Teacher
from tests.support.example_methods import CoTraining


@pytest.mark.parametrize("ramp", [True, False])
def test_the_teacher_is_the_moving_average_of_all_floating_state(ramp: bool) -> None:
    net = toy_network(FixMatch(FixMatch.Config())).train()
    teacher = Teacher(net, 0.9, ramp=ramp)
    expected = copy.deepcopy(net.state_dict())
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        for parameter in net.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator)
        net(torch.rand(4, 3, 16, 16, generator=generator))
        teacher.take(teacher.weight(step))
        decay = min(0.9, (1 + step) / (10 + step)) if ramp else 0.9
        for key, value in net.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value if value.is_floating_point() else value.clone()
    for key, value in teacher.net.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-5), key
    assert int(teacher.net.state_dict()["backbone.norm.num_batches_tracked"]) == 30
    assert not any(parameter.requires_grad for parameter in teacher.net.parameters())


@pytest.mark.parametrize("ramp", [True, False])
def test_averages_of_further_networks_ramp_as_the_teacher_does(ramp: bool, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"ema_ramp": ramp})
    training = toy_training(CoTraining(CoTraining.Config()), tmp_path, recipe=recipe)
    assert [average.ramp for average in training.run.averages] == [ramp, ramp]
