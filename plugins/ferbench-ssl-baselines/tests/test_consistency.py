"""The Pi-Model and Mean Teacher against their equations."""

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    LABELS,
    NumpyNet,
    attached,
    check_step,
    cross_entropy,
    images_of,
    make_batch,
    numpy_net,
    one_hot,
    softmax,
    weight_of,
)

from ferbench.contract.method import Method
from ferbench_ssl_baselines.mean_teacher import MeanTeacher
from ferbench_ssl_baselines.pi_model import PiModel

WEIGHT = 100 * np.exp(-5 * (1 - 0.1 / (80 / 300)) ** 2)  # at a tenth of the run


def test_a_step_of_the_pi_model_has_gradient_through_both_predictions() -> None:
    method = attached(PiModel)
    batch = make_batch(method, progress=0.1)
    x, u = images_of(batch)

    def reference(net: NumpyNet) -> float:
        first, second, u_first, u_second = net.joint(x["first"], x["second"], u["first"], u["second"])
        z, z_again = softmax(np.concatenate([first, u_first])), softmax(np.concatenate([second, u_second]))
        distance = ((z - z_again) ** 2).sum() / z.size
        return float(cross_entropy(one_hot(LABELS), first).mean() + WEIGHT * distance)

    check_step(method, batch, reference)


def test_a_step_of_mean_teacher_follows_a_teacher_that_it_leaves_alone() -> None:
    method = attached(MeanTeacher)
    batch = make_batch(method, progress=0.1)
    x, u = images_of(batch)
    teacher = numpy_net(method.teacher)
    target = np.concatenate([teacher.probabilities(view["teacher"], evaluation=True) for view in (x, u)])

    def reference(net: NumpyNet) -> float:
        labeled, unlabeled = net.joint(x["student"], u["student"])
        distance = ((softmax(np.concatenate([labeled, unlabeled])) - target) ** 2).mean()
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + WEIGHT * distance)

    check_step(method, batch, reference)
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    for name, value in numpy_net(method.teacher).values.items():
        np.testing.assert_array_equal(value, teacher.values[name])


@pytest.mark.parametrize("method_class", [PiModel, MeanTeacher])
def test_the_weight_rises_over_its_part_of_the_run(method_class: type[Method]) -> None:
    weights = []
    for progress in (0, 2 / 15, 4 / 15, 1):
        method = attached(method_class)
        losses = method.loss(make_batch(method, progress=progress))
        weights.append(weight_of(losses, "consistency"))
    assert weights == pytest.approx([100 * np.exp(-5), 100 * np.exp(-1.25), 100, 100], rel=1e-3)


@pytest.mark.parametrize("method_class", [PiModel, MeanTeacher])
def test_two_equal_predictions_cost_nothing(method_class: type[Method]) -> None:
    method = attached(method_class)
    with torch.no_grad():
        for net in (method.net, method.teacher):
            net.head.linear.weight.zero_()  # type: ignore[union-attr, operator]
            net.head.linear.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))  # type: ignore[union-attr, operator]
    consistency = method.loss(make_batch(method)).terms["consistency"]
    assert consistency.detach() == pytest.approx(0, abs=1e-12)
