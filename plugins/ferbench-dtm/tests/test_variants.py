"""What the variants do to net, state and gradients, step by step on small tensors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.support.pixel_net import Pixels

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, ViewSet
from ferbench_dtm.method import Dtm

INFO = MethodInfo(("neutral", "happiness", "sadness"), (2, 2, 2), 6, 40, steps=40, steps_per_epoch=2, feature_size=12)
B = 8


def view_set(names: list[str], rows: int, seed: int) -> ViewSet:
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(rows, 3, 4, 4, generator=generator).requires_grad_() for name in names}
    return ViewSet(images, torch.arange(rows), {name: torch.zeros(rows, 4) for name in names})


def make_batch(method: Dtm) -> Batch:
    labels = torch.arange(6) % 3
    views = method.views
    unlabeled = view_set(list(views.unlabeled or ()), B, 2)
    one_hot, rate = F.one_hot(labels).float(), torch.tensor(0.5)
    return Batch(view_set(["weak"], 6, 1), unlabeled, labels, one_hot, torch.tensor(0), torch.tensor(0.0), rate)


def attached(variant: str, **options: Any) -> Dtm:
    torch.manual_seed(0)
    method = Dtm(Dtm.Config.model_validate({**Dtm.variants[variant], **options}))
    net = Network(Pixels(), method.make_head(12, 3)).train()
    method.setup(net, INFO)
    method.attach(net, net, torch.Generator().manual_seed(1), INFO)
    return method


def forwards_seen_by_batchnorm(method: Dtm) -> int:
    return int(method.net.backbone.norm.num_batches_tracked)  # type: ignore[union-attr, operator, arg-type]


@pytest.mark.parametrize(("variant", "forwards"), [("from-code", 1), ("described", 1), ("released", 4)])
def test_the_released_code_forwards_each_view_apart(variant: str, forwards: int) -> None:
    method = attached(variant)
    method.loss(make_batch(method))
    assert forwards_seen_by_batchnorm(method) == forwards


@pytest.mark.parametrize("variant", Dtm.variants)
def test_pseudo_labels_train_strong_views_alone(variant: str) -> None:
    method = attached(variant, floor=0.0)
    method.thresholds.threshold.zero_()
    batch = make_batch(method)
    losses = method.loss(batch)
    losses.total.backward()
    assert losses.mask is not None and losses.mask.all()
    assert batch.unlabeled is not None and batch.labeled.images["weak"].grad is not None
    moved = {name for name, images in batch.unlabeled.images.items() if images.grad is not None and images.grad.any()}
    assert moved == {"strong"}


def test_the_released_code_decays_the_statistics_of_batchnorm_too() -> None:
    method = attached("released")
    (stage,) = method.stages()
    assert stage.optimizer is not None and stage.optimizer.values == {"weight_decay": 0.0}
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    method.after_step(StepInfo(make_batch(method), Losses(torch.tensor(0.0))))  # at a learning rate of 0.5
    for name, value in method.net.state_dict().items():
        expected = before[name] * (1 - 0.02 * 0.5) if value.is_floating_point() else before[name]
        torch.testing.assert_close(value, expected, msg=name)


@pytest.mark.parametrize("variant", ["from-code", "described"])
def test_other_variants_leave_decay_to_the_optimizer(variant: str) -> None:
    method = attached(variant)
    assert method.stages()[0].optimizer is None
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    method.after_step(StepInfo(make_batch(method), Losses(torch.tensor(0.0))))
    assert all(torch.equal(value, before[name]) for name, value in method.net.state_dict().items())


@pytest.mark.parametrize("variant", ["from-code", "released"])
def test_the_codes_linear_layer_sees_features_of_unit_length(variant: str) -> None:
    head = attached(variant).make_head(12, 3)
    output = head(torch.randn(5, 12))  # in training mode: there is no dropout
    torch.testing.assert_close(output.features.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(output.logits, output.features @ head.linear.weight.T + head.linear.bias)  # type: ignore[union-attr, operator]


def test_the_reconstructions_linear_layer_sees_features_as_they_are() -> None:
    features = torch.randn(5, 12)
    assert torch.equal(attached("described").make_head(12, 3)(features).features, features)


@pytest.mark.parametrize("variant", ["from-code", "released"])
def test_the_code_draws_labeled_images_as_they_come_and_aligns_nothing(variant: str) -> None:
    method = attached(variant)
    assert method.stages()[0].sampler == "uniform"
    prediction = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    assert torch.equal(method.align(prediction), prediction)
