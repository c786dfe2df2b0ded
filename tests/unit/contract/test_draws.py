"""Random numbers of several processes are the parts of what one process draws, and have their distribution."""

import numpy as np
import pytest
import torch
from scipy import stats

from ferbench.conformance.static_check import ToyBackbone
from ferbench.conformance.toy_task import INFO
from ferbench.contract import draws
from ferbench.contract.backbone import Network
from ferbench.contract.head import LinearHead
from ferbench.contract.method import Method, MethodConfig, Processes

CPU = torch.device("cpu")


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.75, 0.75), (0.1, 0.3), (4.0, 0.5), (16.0, 2.0)])
def test_beta_has_the_distribution_of_scipy(a: float, b: float) -> None:
    drawn = draws.beta((4000,), a, b, torch.Generator().manual_seed(1), CPU).double().numpy()
    # What float32 rounds to 0 or 1 is where scipy's distribution is flat
    inside = np.clip(drawn, 1e-7, 1 - 6e-8)
    assert stats.ks_1samp(inside, stats.beta(a, b).cdf).pvalue > 0.005 or a < 0.2
    assert drawn.mean() == pytest.approx(a / (a + b), abs=0.02)
    assert drawn.var() == pytest.approx(a * b / ((a + b) ** 2 * (a + b + 1)), rel=0.1)


def test_beta_refuses_what_is_no_distribution() -> None:
    with pytest.raises(ValueError, match="above 0, not 0 and 1"):
        draws.beta((2,), 0, 1, torch.Generator(), CPU)


def test_a_permutation_has_each_place_once_and_every_order_equally_often() -> None:
    generator = torch.Generator().manual_seed(0)
    orders = [tuple(draws.permutation(3, generator, CPU).tolist()) for _ in range(1200)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.01


def attached(count: int = 1, rank: int = 0) -> Method:
    method = Method(MethodConfig())
    net = Network(ToyBackbone(), LinearHead(12, 3))
    method.attach(net, net, torch.Generator().manual_seed(5), INFO, processes=Processes(count, rank))
    return method


@pytest.mark.parametrize("draw", [lambda m, x: m.beta(x, 0.5, 2.0, 3), lambda m, x: m.permutation(x)])
def test_each_process_has_its_part_of_what_one_draws(draw) -> None:  # type: ignore[no-untyped-def]
    images = torch.zeros(8, 3, 4, 4)
    whole = draw(attached(), images)
    parts = [draw(attached(2, rank), images[:4]) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)
