"""Pseudo-Label against its equations."""

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

from ferbench_ssl_baselines.pseudo_label import PseudoLabel


@pytest.mark.parametrize(("options", "alpha"), [({}, 1.5), ({"variant": "thresholded", "threshold": 0.6}, 0.875)])
def test_a_step(options: dict[str, object], alpha: float) -> None:
    method = attached(PseudoLabel, **options)
    batch = make_batch(method, progress=0.35)
    labeled, unlabeled = images_of(batch)
    prediction = softmax(numpy_net(method.net).joint(labeled["weak"], unlabeled["weak"])[1])
    mask = prediction.max(-1) >= (0.6 if options else 0)

    def reference(net: NumpyNet) -> float:
        x, u = net.joint(labeled["weak"], unlabeled["weak"])
        pseudo = cross_entropy(one_hot(prediction.argmax(-1)), u) * mask
        return float(cross_entropy(one_hot(LABELS), x).mean() + alpha * pseudo.mean())

    losses = check_step(method, batch, reference)
    assert losses.pseudo_label is not None and losses.mask is not None
    assert losses.pseudo_label.tolist() == prediction.argmax(-1).tolist()
    assert losses.mask.tolist() == mask.tolist()
    assert mask.all() if not options else 0 < mask.sum() < len(mask)


def test_the_weight_begins_at_t1_and_ends_its_rise_at_t2() -> None:
    weights = []
    for progress in (0, 0.1, 0.2, 0.6, 1):
        method = attached(PseudoLabel)
        losses = method.loss(make_batch(method, progress=progress))
        weights.append(weight_of(losses, "unlabeled"))
    assert weights == pytest.approx([0, 0, 0.6, 3, 3], abs=1e-5)


def test_pseudo_labels_are_argmax_of_the_present_net_not_of_the_teacher() -> None:
    method = attached(PseudoLabel)
    batch = make_batch(method)
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.neg_()
    said = method.loss(batch).pseudo_label
    assert said is not None
    labeled, unlabeled = images_of(batch)
    np.testing.assert_array_equal(said, numpy_net(method.net).joint(labeled["weak"], unlabeled["weak"])[1].argmax(-1))
