"""The layout changes speed, never results."""

import copy

import torch
from torch import nn

from ferbench.training.memory_layout import LARGE_KERNEL, lay_out


def test_large_kernels_stay_channels_first_and_the_results_are_those_of_the_plain_net() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 472, 3, 2, 1), nn.ReLU(), nn.Conv2d(472, 472, 3, 1, 1), nn.BatchNorm2d(472))
    assert plain[2].weight.numel() >= LARGE_KERNEL > plain[0].weight.numel()
    laid = lay_out(copy.deepcopy(plain), torch.device("cpu"))
    assert laid[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert laid[2].weight.is_contiguous()
    images = torch.randn(4, 3, 6, 6)
    outputs = [net(images.contiguous(memory_format=torch.channels_last)) for net in (plain, copy.deepcopy(laid), laid)]
    assert outputs[2].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(outputs[0], outputs[2], rtol=1e-4, atol=1e-5)
    assert torch.equal(outputs[1], outputs[2]), "a copy, as the teacher is, has the same layout"
    for net, output in zip((plain, laid), (outputs[0], outputs[2]), strict=True):
        output.square().mean().backward()
        assert net[2].weight.grad is not None
    torch.testing.assert_close(plain[0].weight.grad, laid[0].weight.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(plain[2].weight.grad, laid[2].weight.grad, rtol=1e-3, atol=1e-5)
