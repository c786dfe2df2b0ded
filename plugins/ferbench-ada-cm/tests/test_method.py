"""What Ada-CM and its variants do to gradients, margins and state, step by step on small tensors."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.support.pixel_net import Pixels
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, PoolPredictions, StepInfo, ViewSet
from ferbench_ada_cm.method import AdaCM

INFO = MethodInfo(("neutral", "happiness", "sadness"), (2, 2, 2), 6, 40, steps=40, steps_per_epoch=2, feature_size=12)
B = 8


def view_set(names: tuple[str, ...], rows: int, seed: int) -> ViewSet:
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(rows, 3, 4, 4, generator=generator) for name in names}
    return ViewSet(images, torch.arange(rows), {name: torch.zeros(rows, 4) for name in names})


def make_batch(step: int = 0) -> Batch:
    labels = torch.arange(6) % 3
    unlabeled = view_set(("weak1", "weak2", "strong"), B, 2)
    one_hot, rate = F.one_hot(labels).float(), torch.tensor(0.5)
    return Batch(view_set(("weak",), 6, 1), unlabeled, labels, one_hot, torch.tensor(step), torch.tensor(0.0), rate)


def attached(variant: str = "described", **options: Any) -> AdaCM:
    torch.manual_seed(0)
    config = {**AdaCM.variants[variant], "dropout": 0.0, **options}
    method = AdaCM(AdaCM.Config.model_validate(config))
    net = Network(Pixels(), method.make_head(12, 3)).train()
    method.setup(net, INFO)
    method.attach(net, net, torch.Generator().manual_seed(1), INFO)
    return method


def between(method: AdaCM) -> AdaCM:
    """The method with a margin that half of the unlabeled images reach."""
    views = method.forward_views(make_batch()).unlabeled
    prediction = (views.weak1.logits.softmax(-1) + views.weak2.logits.softmax(-1)) / 2
    method.margin.threshold.fill_(prediction.max(-1).values.median().item())
    return method


def gradients(method: AdaCM) -> tuple[Losses, dict[str, Tensor]]:
    losses = method.loss(make_batch())
    losses.total.backward()
    return losses, {n: p.grad.clone() for n, p in method.net.named_parameters() if p.grad is not None}


class Context:
    epoch = 4

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def predict(self, pool: str, **options: Any) -> PoolPredictions:
        self.asked = {"pool": pool, **options}
        return PoolPredictions(9.0 * torch.eye(3), torch.arange(3), torch.arange(3))


def test_every_unlabeled_image_is_used_by_one_loss_or_the_other() -> None:
    method = attached()
    unlabeled = make_batch().unlabeled
    assert unlabeled is not None
    images = {name: view.clone().requires_grad_() for name, view in unlabeled.images.items()}
    batch = make_batch()
    object.__setattr__(batch, "unlabeled", ViewSet(images, unlabeled.index, unlabeled.boxes))
    method.net.backbone.norm.eval()  # type: ignore[union-attr, operator]  # statistics would couple all images
    losses = between(method).loss(batch)
    losses.total.backward()
    assert losses.mask is not None
    confident = losses.mask.bool()
    assert 0 < confident.sum() < B, "a batch with images on both sides of the margin"
    moved = {name: view.grad.flatten(1).abs().sum(1) > 0 for name, view in images.items() if view.grad is not None}
    assert torch.equal(moved["strong"], confident)
    assert torch.equal(moved["weak1"], ~confident)
    assert torch.equal(moved["weak2"], ~confident)


def test_in_april_2022_the_contrast_had_no_gradient() -> None:
    released, with_gradient = gradients(between(attached("released")))
    frozen, without_gradient = gradients(between(attached("released-2022-04")))
    none, no_contrast = gradients(between(attached("released", contrast_weight=0)))
    assert frozen.terms["contrast"] == released.terms["contrast"] > 0
    torch.testing.assert_close(frozen.total, released.total)
    assert none.total < frozen.total
    for name, gradient in without_gradient.items():
        torch.testing.assert_close(gradient, no_contrast[name])
    assert any(not torch.allclose(without_gradient[name], with_gradient[name]) for name in with_gradient)


@pytest.mark.parametrize(("variant", "joint"), [("described", None), ("released", False), ("released-2022-04", False)])
def test_the_released_code_forwards_each_view_apart(variant: str, joint: bool | None) -> None:
    config = AdaCM.Config.model_validate(AdaCM.variants[variant])
    assert AdaCM(config).joint_forward is joint
    method = attached(variant)
    method.loss(make_batch())
    assert int(method.net.backbone.norm.num_batches_tracked) == (1 if joint is None else 4)  # type: ignore[union-attr, operator, arg-type]


def test_the_released_code_decays_the_statistics_of_batchnorm_too() -> None:
    method = attached("released")
    (stage,) = method.stages()
    assert stage.optimizer is not None and stage.optimizer.values == {"weight_decay": 0.0}
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    info = StepInfo(make_batch(), Losses(torch.tensor(0.0)))
    method.after_step(info)  # whose learning rate is 0.5
    for name, value in method.net.state_dict().items():
        expected = before[name] * (1 - 0.02 * 0.5) if value.is_floating_point() else before[name]
        torch.testing.assert_close(value, expected, msg=name)
    described = attached()
    assert described.stages()[0].optimizer is None
    before = {name: value.clone() for name, value in described.net.state_dict().items()}
    described.after_step(info)
    assert all(torch.equal(value, before[name]) for name, value in described.net.state_dict().items())


@pytest.mark.parametrize(
    ("variant", "asked"),
    [
        ("described", {"pool": "labeled", "view": "plain", "drop_last": False}),
        ("released", {"pool": "labeled", "view": "weak", "drop_last": True}),
    ],
)
def test_margins_are_learned_from_the_teacher_after_each_epoch(variant: str, asked: Mapping[str, Any]) -> None:
    method, context = attached(variant), Context()
    shown = method.end_epoch(context)
    assert context.asked == asked  # the net is the teacher unless asked otherwise
    probability = torch.tensor([9.0, 0, 0]).softmax(0).max()
    expected = probability * 0.97 / (1 + torch.exp(torch.tensor(-4.0)))
    torch.testing.assert_close(method.margin.threshold, expected.repeat(3))
    assert torch.equal(shown["margin"], method.margin.threshold)


def test_a_fixed_margin_stays() -> None:
    method = attached(margin={"update": "fixed", "initial": 0.95})
    method.end_epoch(Context())
    method.loss(make_batch())
    assert method.margin.threshold.tolist() == pytest.approx([0.95] * 3)


def test_eacm_learns_its_margin_at_each_iteration() -> None:
    method = attached(margin={"update": "iteration", "initial": 0.9, "floor": 0.0, "momentum": 0.75})
    method.end_epoch(Context())
    assert method.margin.threshold.tolist() == pytest.approx([0.9] * 3), "not at the end of an epoch"
    batch, scale = make_batch(step=19), 0.97 / (1 + math.exp(-10))
    sure = torch.tensor([[4.0, 0, 0], [0, 0, 4], [0, 4, 0], [1, 0, 0], [0, 2, 0], [0, 3, 0]])  # labels 0 1 2 0 1 2
    method.margin.observe(sure, batch)

    def confidence(logit: float) -> float:
        return math.exp(logit) / (math.exp(logit) + 2)

    first = [(confidence(4) + confidence(1)) / 2, confidence(2)]
    assert method.margin.threshold.tolist() == pytest.approx([first[0] * scale, first[1] * scale, 0.9]), (
        "class 2 never right"
    )
    method.margin.observe(torch.tensor([[2.0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 2, 0], [1, 0, 0], [0, 0, 5]]), batch)
    running = [0.75 * first[0] + 0.25 * confidence(2), first[1], confidence(5)]
    assert method.margin.threshold.tolist() == pytest.approx([value * scale for value in running])


def test_a_step_learns_the_margin_first() -> None:
    method = attached(margin={"update": "iteration", "floor": 0.0})
    method.loss(make_batch())
    assert (method.margin.threshold != 0.8).any()


def test_the_features_that_the_contrast_compares_have_unit_length() -> None:
    head = attached().make_head(12, 3).eval()
    output = head(torch.randn(5, 12))
    torch.testing.assert_close(output.features.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(output.logits, head.linear(output.features))
