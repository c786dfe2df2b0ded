"""FixMatch against its formula, written once more with numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.static_check import LABELED, UNLABELED, meta_batch
from ferbench.conformance.toy_task import INFO, toy_network
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch


def random_batch() -> Batch:
    torch.manual_seed(5)
    batch = meta_batch(FixMatch.views, INFO.n_classes)
    for view_set in (batch.labeled, batch.unlabeled):
        assert view_set is not None
        for images in view_set.images.values():
            images.normal_()
    batch.labels.copy_(torch.randint(0, 3, (LABELED,)))
    return batch


def attached(**options: object) -> tuple[FixMatch, Network]:
    method = FixMatch(FixMatch.Config.model_validate(options))
    net = toy_network(method).train()
    method.setup(net, INFO)
    method.attach(net, net, torch.Generator(), INFO)
    return method, net


@pytest.mark.parametrize("align", [False, True])
def test_the_loss_is_the_papers(align: bool) -> None:
    batch = random_batch()
    reference = toy_network(FixMatch(FixMatch.Config())).train()
    assert batch.unlabeled is not None
    joint = torch.cat([batch.labeled.images["weak"], batch.unlabeled.images["strong"]])
    logits = reference(joint).logits.detach().numpy().astype(np.float64)
    weak = reference(batch.unlabeled.images["weak"]).logits.detach().numpy().astype(np.float64)
    prediction = softmax(weak, axis=1)
    if align:
        running = 0.9 / 3 + 0.1 * prediction.mean(0)
        prediction = prediction * (1 / 3) / running
        prediction /= prediction.sum(1, keepdims=True)
    pseudo = prediction.argmax(1)
    threshold = float(np.median(prediction.max(1)))
    mask = prediction.max(1) >= threshold
    assert 0 < mask.sum() < UNLABELED
    supervised = -log_softmax(logits[:LABELED], axis=1)[np.arange(LABELED), batch.labels].mean()
    unlabeled = (-log_softmax(logits[LABELED:], axis=1)[np.arange(UNLABELED), pseudo] * mask).sum() / UNLABELED

    method, _ = attached(threshold=threshold, unlabeled_weight=0.7, align=align, align_decay=0.9)
    losses = method.loss(batch)
    assert losses.total.item() == pytest.approx(supervised + 0.7 * unlabeled, rel=1e-4)
    assert losses.pseudo_label is not None and losses.pseudo_label.tolist() == pseudo.tolist()
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist()


def test_the_weak_view_gets_no_gradient_and_moves_no_statistics() -> None:
    batch = random_batch()
    method, net = attached(threshold=0.0)
    before = int(net.backbone.norm.num_batches_tracked)  # type: ignore[union-attr, operator, arg-type]
    mean = net.backbone.norm.running_mean.clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        method.forward_views(batch)
    assert int(net.backbone.norm.num_batches_tracked) == before + 1  # type: ignore[union-attr, operator, arg-type]
    reference = toy_network(FixMatch(FixMatch.Config())).train()
    assert batch.unlabeled is not None
    reference(torch.cat([batch.labeled.images["weak"], batch.unlabeled.images["strong"]]))
    assert torch.equal(net.backbone.norm.running_mean, reference.backbone.norm.running_mean)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(net.backbone.norm.running_mean, mean)  # type: ignore[union-attr, arg-type]
    out = method.forward_views(batch)
    assert not out.unlabeled.weak.logits.requires_grad
    assert out.labeled.weak.logits.requires_grad


def test_separate_forwards_use_the_statistics_of_each_view() -> None:
    batch = random_batch()
    method, net = attached()
    out = method.forward_views(batch, joint=False)
    reference = toy_network(FixMatch(FixMatch.Config())).train()
    expected = reference(batch.labeled.images["weak"]).logits
    assert torch.allclose(out.labeled.weak.logits, expected, atol=1e-6)
    assert int(net.backbone.norm.num_batches_tracked) == 2  # type: ignore[union-attr, operator, arg-type]
