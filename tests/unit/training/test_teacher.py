"""The EMA against a plain loop over the state dict."""

import copy

import torch

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_network
from ferbench.training.teacher import Teacher


def test_the_teacher_is_the_moving_average_of_all_floating_state() -> None:
    net = toy_network(FixMatch(FixMatch.Config())).train()
    teacher = Teacher(net, 0.9)
    expected = copy.deepcopy(net.state_dict())
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        for parameter in net.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator)
        net(torch.rand(4, 3, 16, 16, generator=generator))
        teacher.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        for key, value in net.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value if value.is_floating_point() else value.clone()
    for key, value in teacher.net.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-5), key
    assert int(teacher.net.state_dict()["backbone.norm.num_batches_tracked"]) == 30
    assert not any(parameter.requires_grad for parameter in teacher.net.parameters())
