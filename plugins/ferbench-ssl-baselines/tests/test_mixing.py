"""MixMatch and ReMixMatch against their equations."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    LABELS,
    Array,
    L,
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
    weight_of,
)

from ferbench.contract.method import Method
from ferbench_ssl_baselines.mixmatch import MixMatch
from ferbench_ssl_baselines.remixmatch import ReMixMatch

PRIOR = np.array([0.5, 0.3, 0.2])


def drawn(method: Method, rows: int) -> tuple[Array, Array]:
    """Shares and partners as the method is made to draw them; some shares are below a half."""
    shares = np.linspace(0.1, 0.95, rows)
    partners = np.roll(np.arange(rows), 3)
    method.beta = lambda images, a, b: torch.tensor(shares[: len(images)], dtype=torch.float32)  # type: ignore[method-assign, assignment]
    method.permutation = lambda images: torch.tensor(partners)  # type: ignore[method-assign]
    return np.maximum(shares, 1 - shares), partners


def mixed(own: Array, shares: Array, partners: Array) -> Array:
    """Row by row, as the algorithm box has it."""
    return np.stack([shares[i] * own[i] + (1 - shares[i]) * own[partners[i]] for i in range(len(own))])


def sharpened(p: Array) -> Array:
    return p**2 / (p**2).sum(-1, keepdims=True)


def test_a_step_of_mixmatch() -> None:
    method = attached(MixMatch)
    batch = make_batch(method, progress=0.005)
    x, u = images_of(batch)
    shares, partners = drawn(method, L + 2 * U)
    fixed = numpy_net(method.net)
    guess = sharpened((fixed.probabilities(u["first"]) + fixed.probabilities(u["second"])) / 2)
    images = mixed(np.concatenate([x["weak"], u["first"], u["second"]]), shares, partners)
    target = mixed(np.concatenate([one_hot(LABELS), guess, guess]), shares, partners)
    weight = 75 * 0.005 / (16_000 / 2**20)

    def reference(net: NumpyNet) -> float:
        logits = net.logits(images)
        labeled = cross_entropy(target[:L], logits[:L]).mean()
        unlabeled = sum(((softmax(logits[i]) - target[i]) ** 2).sum() for i in range(L, L + 2 * U)) / (3 * 2 * U)
        return float(labeled + weight * unlabeled)

    losses = check_step(method, batch, reference)
    assert losses.pseudo_label is not None and losses.mask is not None
    assert losses.pseudo_label.tolist() == guess.argmax(-1).tolist() and losses.mask.tolist() == [1.0] * U


def test_the_weight_of_mixmatch_is_whole_after_a_sixtyfifth_of_the_run() -> None:
    for progress, expected in ((0.0, 0.0), (0.02, 75.0), (1.0, 75.0)):
        method = attached(MixMatch)
        losses = method.loss(make_batch(method, progress=progress))
        found = weight_of(losses, "unlabeled")
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("method_class", "options"), [(MixMatch, {}), (ReMixMatch, {"strong_views": 2})])
def test_every_image_has_a_share_of_its_own_and_stays_the_larger_part(
    method_class: type[Method], options: dict[str, Any]
) -> None:
    method = attached(method_class, **options)
    batch = make_batch(method)
    seen: list[Array] = []
    method.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].double().numpy()))
    method.loss(batch)
    x, u = images_of(batch)
    own = np.concatenate([*x.values(), *u.values()])
    (images,) = [each for each in seen if len(each) == len(own)]
    shares = []
    for i, image in enumerate(images):  # the partner and the share that explain the mixed image
        fits = []
        for other in own:
            difference = own[i] - other
            share = 1.0 if not difference.any() else ((image - other) * difference).sum() / (difference**2).sum()
            fits.append((np.abs(share * own[i] + (1 - share) * other - image).max(), share))
        error, share = min(fits)
        assert error < 1e-5 and 0.5 <= share <= 1 + 1e-6
        shares.append(round(share, 4))
    assert len(set(shares)) > len(own) // 2


def test_a_step_of_remixmatch() -> None:
    method = attached(ReMixMatch, strong_views=2)
    batch = make_batch(method, progress=0.01)
    x, u = images_of(batch)
    shares, partners = drawn(method, L + 3 * U)
    turns = [2, 0, 3, 1]
    method.uniform = lambda images, *shape: torch.tensor([(turn + 0.5) / 4 for turn in turns])  # type: ignore[method-assign]
    fixed = numpy_net(method.net)
    # Aligned by the mean of 128 batches, of which 127 were uniform, then sharpened
    p = fixed.probabilities(u["weak"])
    q = p * PRIOR / ((127 * np.full(3, 1 / 3) + p.mean(0)) / 128)
    q = sharpened(q / q.sum(-1, keepdims=True))
    images = mixed(np.concatenate([x["strong"], u["weak"], u["strong1"], u["strong2"]]), shares, partners)
    target = mixed(np.concatenate([one_hot(LABELS), q, q, q]), shares, partners)
    turned = np.stack([np.rot90(image, turn, (1, 2)) for image, turn in zip(u["strong1"], turns, strict=True)])
    rotation = {name: value.detach().double().numpy() for name, value in method.networks["rotation"].named_parameters()}
    ramp = 0.01 * 64

    def reference(net: NumpyNet) -> float:
        per_image = cross_entropy(target, net.logits(images))
        first = cross_entropy(q, net.logits(u["strong1"])).mean()
        quarter = net.features(turned) @ rotation["weight"].T + rotation["bias"]
        turn = cross_entropy(one_hot(turns, 4), quarter).mean()
        return float(per_image[:L].mean() + ramp * (1.5 * per_image[L:].mean() + 0.5 * first) + 0.5 * turn)

    losses = check_step(method, batch, reference)
    assert losses.pseudo_label is not None and losses.pseudo_label.tolist() == q.argmax(-1).tolist()
    assert all(parameter.grad is not None for parameter in method.networks["rotation"].parameters())


def test_remixmatch_forgets_a_batch_after_128() -> None:
    method = attached(ReMixMatch, strong_views=1)
    predictions = []
    for seed in range(130):
        batch = make_batch(method, seed=seed)
        predictions.append(numpy_net(method.net).probabilities(images_of(batch)[1]["weak"]).mean(0))
        with torch.no_grad():
            method.loss(batch)
    found = method.recent.recent.mean(0)  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(found, np.mean(predictions[-128:], 0), rtol=1e-5)


def test_remixmatch_asks_for_k_strong_views() -> None:
    declared = ReMixMatch(ReMixMatch.Config()).views.unlabeled
    assert declared is not None and [spec.kind for spec in declared.values()] == ["weak"] + ["strong"] * 8
