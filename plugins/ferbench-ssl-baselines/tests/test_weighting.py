"""FreeMatch, SoftMatch and DebiasPL against their equations, and against what popular implementations get wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    LABELS,
    Array,
    C,
    NumpyNet,
    U,
    attached,
    check_step,
    cross_entropy,
    images_of,
    make_batch,
    numpy_net,
    one_hot,
    softmax,
)

from ferbench.contract.batch import Batch, ViewSet
from ferbench.contract.method import Method
from ferbench_ssl_baselines.debiaspl import DebiasPL
from ferbench_ssl_baselines.freematch import FreeMatch
from ferbench_ssl_baselines.softmatch import SoftMatch


def setting(method: Method, **buffers: Array | float) -> None:
    """Give buffers of a method values, by dotted name."""
    for name, value in buffers.items():
        method.get_buffer(name.replace("__", ".")).copy_(torch.tensor(value))


def weak_prediction(method: Method, batch: Batch) -> Array:
    return numpy_net(method.net).probabilities(images_of(batch)[1]["weak"])


# -- FreeMatch ---------------------------------------------------------------------------------------------------------

TAU, P, H = 0.9, np.array([0.5, 0.2, 0.3]), np.array([0.6, 0.1, 0.3])


def freematch(**options: float) -> Method:
    method = attached(FreeMatch, **{"momentum": 0.9, **options})
    setting(method, thresholds__confidence=TAU, thresholds__prediction=P, histogram=H)
    return method


def test_a_step_of_freematch() -> None:
    method = freematch(unlabeled_weight=2.0, fairness_weight=3.0)
    batch = make_batch(method, seed=4)
    x, u = images_of(batch)
    prediction = weak_prediction(method, batch)
    # The thresholds of this step know of its images
    tau, p = 0.9 * TAU + 0.1 * prediction.max(1).mean(), 0.9 * P + 0.1 * prediction.mean(0)
    h = 0.9 * H + 0.1 * one_hot(prediction.argmax(1)).mean(0)
    threshold, label = tau * p / p.max(), prediction.argmax(1)
    mask = prediction.max(1) >= threshold[label]
    predicted = numpy_net(method.net).joint(x["weak"], u["strong"])[1].argmax(1)

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        total = cross_entropy(one_hot(LABELS), labeled).mean()
        total += 2 * (cross_entropy(one_hot(label), strong) * mask).mean()
        ours = {}
        for c in set(predicted[mask]):
            mean = sum(softmax(strong)[i, c] for i in range(U) if mask[i]) / mask.sum()
            ours[c] = mean / (sum(mask[i] and predicted[i] == c for i in range(U)) / mask.sum())
        target = (p / h) / (p / h).sum()
        negative_entropy = sum(target[c] * np.log(value / sum(ours.values())) for c, value in ours.items())
        return float(total + 3 * negative_entropy)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    assert 1 < len(set(predicted[mask])) < C, "of some classes, not of all"
    np.testing.assert_allclose(method.get_buffer("thresholds.threshold"), threshold, rtol=1e-5)
    np.testing.assert_allclose(method.get_buffer("histogram"), h, rtol=1e-5)


def test_freematch_begins_with_a_threshold_that_every_image_reaches() -> None:
    losses = attached(FreeMatch).loss(make_batch(attached(FreeMatch)))
    assert losses.mask is not None and losses.mask.tolist() == [1.0] * U


def test_without_a_confident_image_fairness_is_nothing_and_has_no_gradient() -> None:
    method = freematch(momentum=0.999999)
    setting(method, thresholds__confidence=0.9999999, thresholds__prediction=np.full(C, 1 / C))
    losses = method.loss(make_batch(method))
    assert losses.mask is not None and not losses.mask.any()
    assert float(losses.terms["fairness"].detach()) == 0
    losses.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.net.parameters())


def test_a_class_that_is_never_predicted_breaks_no_fairness() -> None:
    method = freematch(momentum=0)  # so the histogram knows of this batch alone
    losses = method.loss(make_batch(method, seed=4))
    assert not method.get_buffer("histogram").all(), "a class is missing"
    losses.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.net.parameters())


# -- SoftMatch ---------------------------------------------------------------------------------------------------------


def test_a_step_of_softmatch() -> None:
    method = attached(SoftMatch, momentum=0.8, width=3.0, unlabeled_weight=2.0)
    mean = np.array([0.1, 0.7, 0.2])
    setting(method, mean_confidence=0.8, variance=0.1, mean_prediction=mean)
    batch = make_batch(method)
    x, u = images_of(batch)
    prediction = weak_prediction(method, batch)
    label, confidence = prediction.argmax(1), prediction.max(1)
    mu = 0.8 * 0.8 + 0.2 * confidence.mean()
    variance = 0.8 * 0.1 + 0.2 * confidence.var(ddof=1)  # unbiased
    mean = 0.8 * mean + 0.2 * prediction.mean(0)
    uniform = prediction / C / mean
    uniform /= uniform.sum(1, keepdims=True)
    weight = np.array([1.0 if p >= mu else np.exp(-((p - mu) ** 2) / (2 * variance / 9)) for p in uniform.max(1)])

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        pseudo = (cross_entropy(one_hot(label), strong) * weight).mean()
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + 2 * pseudo)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.pseudo_label is not None
    np.testing.assert_allclose(losses.mask, weight, rtol=1e-4)
    assert 0 < (weight < 1).sum() < U
    # Alignment changes some label and the confidence, but not what is learned of the confidence, nor the labels
    assert uniform.argmax(1).tolist() != label.tolist() == losses.pseudo_label.tolist()
    assert float(method.get_buffer("mean_confidence")) == pytest.approx(mu, rel=1e-5)
    assert float(method.get_buffer("variance")) == pytest.approx(variance, rel=1e-4)
    np.testing.assert_allclose(method.get_buffer("mean_prediction"), mean, rtol=1e-5)


def test_softmatch_begins_at_chance_with_a_wide_gaussian() -> None:
    method = attached(SoftMatch)
    found = {name: method.get_buffer(name).tolist() for name in ("mean_confidence", "variance", "mean_prediction")}
    assert found == {
        "mean_confidence": pytest.approx(1 / C),
        "variance": 1,
        "mean_prediction": pytest.approx([1 / C] * C),
    }


def test_softmatch_learns_no_variance_from_one_image() -> None:
    method = attached(SoftMatch, momentum=0.5)
    batch = make_batch(method)
    assert batch.unlabeled is not None
    one = {name: view[:1] for name, view in batch.unlabeled.images.items()}
    batch = replace(batch, unlabeled=ViewSet(one, batch.unlabeled.index[:1], {}))
    method.net.eval()  # BatchNorm needs two values, too
    for _ in range(3):
        losses = method.loss(batch)
    assert losses.total.isfinite() and float(method.get_buffer("variance")) == 0.125


# -- DebiasPL ----------------------------------------------------------------------------------------------------------


def test_a_step_of_debiaspl() -> None:
    method, mean = attached(DebiasPL, debias=1.5, momentum=0.5, threshold=0.65, unlabeled_weight=2.0), [0.1, 0.7, 0.2]
    setting(method, mean_prediction=np.array(mean))
    batch = make_batch(method)
    x, u = images_of(batch)
    weak = numpy_net(method.net).logits(u["weak"])
    debiased = softmax(weak - 1.5 * np.log(mean))
    label, mask = debiased.argmax(1), debiased.max(1) >= 0.65
    new = 0.5 * np.array(mean) + 0.5 * softmax(weak).mean(0)

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        margins = 1.5 * np.log(1 / new)
        total = cross_entropy(one_hot(LABELS), labeled).mean()
        for i in range(U):
            z = np.exp(strong[i] - margins)
            total -= 2 * mask[i] * np.log(z[label[i]] / z.sum()) / U
        return float(total)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    assert softmax(weak).argmax(1).tolist() != label.tolist(), "the correction changes a label"


def test_the_mean_prediction_of_debiaspl_is_one_for_each_class_and_stays_a_distribution() -> None:
    """USB takes the mean over classes too, and weights old and new by two decays; the paper's listing takes debiased
    predictions, which its authors call a mistake."""
    method, expected = attached(DebiasPL, debias=1.0, momentum=0.7), np.full(C, 1 / C)
    for seed in range(5):
        batch = make_batch(method, seed=seed)
        expected = 0.7 * expected + 0.3 * weak_prediction(method, batch).mean(0)
        method.loss(batch)
        found = method.get_buffer("mean_prediction").numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert found.sum() == pytest.approx(1) and np.ptp(found) > 0.01


def test_without_debiasing_it_is_fixmatch() -> None:
    method = attached(DebiasPL, debias=0.0, threshold=0.5)
    batch = make_batch(method)
    x, u = images_of(batch)
    prediction = weak_prediction(method, batch)
    mask = prediction.max(1) >= 0.5

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        pseudo = cross_entropy(one_hot(prediction.argmax(1)), strong) * mask
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + pseudo.mean())

    check_step(method, batch, reference)
