"""The layout changes speed, never results."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ferbench.contract.backbone import Backbone, Network
from ferbench.contract.head import LinearHead
from ferbench.training.memory_format import TinyMapConv2d, lay_out

CPU = torch.device("cpu")


class Shrinking(Backbone):
    """Maps of 4 x 4, 2 x 2, 2 x 2 and 1 x 1 pixels."""

    feature_size = 20

    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Conv2d(3, 16, 3, 2, 1)
        self.strided = nn.Conv2d(16, 16, 3, 2, 1, bias=False)
        self.grouped = nn.Conv2d(16, 16, 3, 1, 1, groups=2)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 20, (2, 3), (1, 2), (0, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.norm(self.grouped(self.strided(self.large(images)).relu()))).mean((2, 3))


@pytest.fixture
def plain() -> Network:
    torch.manual_seed(0)
    return Network(Shrinking(), LinearHead(20, 3)).train()


def test_only_plain_convolutions_with_tiny_maps_become_matrix_products(plain: Network) -> None:
    laid = lay_out(copy.deepcopy(plain), CPU, 8)
    tiny = {name for name, module in laid.named_modules() if isinstance(module, TinyMapConv2d)}
    assert tiny == {"backbone.strided", "backbone.last"}
    assert not any(isinstance(module, TinyMapConv2d) for module in lay_out(copy.deepcopy(plain), CPU, 64).modules())
    assert laid.training


def test_results_gradients_and_state_are_those_of_the_plain_net(plain: Network) -> None:
    laid = lay_out(copy.deepcopy(plain), CPU, 8)
    assert laid.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in laid.state_dict().items())
    images = torch.randn(6, 3, 8, 8)
    outputs = [plain(images), laid(images.contiguous(memory_format=torch.channels_last))]
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, rtol=1e-4, atol=1e-5)
    for output in outputs:
        output.logits.square().mean().backward()
    for (name, mine), (_, theirs) in zip(laid.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_a_copy_has_parameters_of_its_own(plain: Network) -> None:
    laid = lay_out(plain, CPU, 8)
    teacher = copy.deepcopy(laid)
    with torch.no_grad():
        laid.backbone.last.weight.zero_()  # type: ignore[union-attr, operator]
    assert teacher.backbone.last.weight.any()  # type: ignore[union-attr, operator]
