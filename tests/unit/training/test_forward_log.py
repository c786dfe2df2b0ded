"""What went through the nets is noted beside them, so that a compiled net stays compiled."""

import copy

import pytest
import torch
from torch import nn

from ferbench.conformance.static_check import ToyTokens
from ferbench.conformance.toy_task import toy_network
from ferbench.contract.backbone import Network
from ferbench.contract.head import Head, Output
from ferbench.contract.method import Method, MethodConfig
from ferbench.training.forward_log import ForwardLog


class AuxHead(Head):
    """Shows the place of each image; its auxiliary loss is the number of images."""

    def __init__(self) -> None:
        super().__init__(12, 3)
        self.linear = nn.Linear(12, 3)

    def forward(self, features: torch.Tensor) -> Output:
        place = torch.arange(len(features)).float()
        return Output(self.linear(features), features, torch.tensor(float(len(features))), {"place": place})


def nets() -> tuple[Network, Network]:
    net = toy_network(Method(MethodConfig()))
    net.head = AuxHead()
    return net, copy.deepcopy(net)


def images(count: int) -> torch.Tensor:
    return torch.zeros(count, 3, 16, 16)


def test_forwards_of_both_nets_count_and_those_with_gradient_are_kept() -> None:
    net, teacher = nets()
    log = ForwardLog(net, teacher)
    assert (log.images, log.aux_loss()) == (0, None)
    net(images(6))
    net(images(2))
    with torch.no_grad():
        net(images(5))
        teacher(images(3))
    assert log.images == 16
    aux = log.aux_loss()
    assert aux is not None
    assert float(aux) == (6 * 6 + 2 * 2) / 8, "the mean over images, whatever forwards they are spread over"
    assert [len(shown["place"]) for shown in log.extras] == [6, 2]
    log.clear()
    assert (log.images, log.aux_loss(), log.extras) == (0, None, [])


def test_tokens_count_like_any_forward() -> None:
    net = Network(ToyTokens(), AuxHead())
    log = ForwardLog(net, copy.deepcopy(net))
    tokens = net.encode(images(4), torch.zeros(4, 2, dtype=torch.int64))
    assert tokens.shape == (4, 2, 12)
    assert (log.images, log.extras) == (4, [])


def test_a_copy_of_the_net_is_not_watched() -> None:
    net, teacher = nets()
    log = ForwardLog(net, teacher)
    net(images(2))
    copied = copy.deepcopy(net)
    copied(images(4))
    assert log.images == 2


@pytest.mark.slow
def test_a_compiled_net_is_compiled_once() -> None:
    """A counter within the net would be another program at every call."""
    programs = 0

    def count(module: torch.fx.GraphModule, inputs: list[torch.Tensor]):  # type: ignore[no-untyped-def]
        nonlocal programs
        programs += 1
        return module.forward

    net, teacher = nets()
    log = ForwardLog(net, teacher)
    compiled = torch.compile(net, backend=count)
    counts = []
    for _ in range(5):
        log.clear()
        compiled(images(4))
        compiled(images(4))
        assert log.images == 8
        counts.append(programs)
    assert counts == [counts[0]] * 5


def test_probing_counts_images_and_notes_nothing_else() -> None:
    net, teacher = nets()
    log = ForwardLog(net, teacher)
    net.probed = True
    net(images(4))
    net.probed = False
    assert (log.images, log.extras, log.aux_loss()) == (4, [], None)
    net(images(2))
    assert log.images == 6 and log.extras and log.aux_loss() is not None
