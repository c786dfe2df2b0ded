"""UDA, FlexMatch, Dash and AdaMatch against their equations."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    LABELS,
    POOL,
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

from ferbench.contract.batch import PoolPredictions
from ferbench_ssl_baselines.adamatch import AdaMatch
from ferbench_ssl_baselines.dash import Dash
from ferbench_ssl_baselines.flexmatch import FlexMatch
from ferbench_ssl_baselines.uda import Uda


def test_a_step_of_uda_has_sharpened_targets() -> None:
    method = attached(Uda, threshold=0.6, annealing="linear")
    batch = make_batch(method, progress=0.4)
    x, u = images_of(batch)
    fixed = numpy_net(method.net)
    weak, joint = fixed.logits(u["weak"]), fixed.joint(x["weak"], u["strong"])[0]
    target, mask = softmax(weak / 0.4), softmax(weak).max(-1) > 0.6
    known = softmax(joint)[range(L), LABELS]
    counted = known <= 0.4 * (1 - 1 / 3) + 1 / 3

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        supervised = cross_entropy(one_hot(LABELS), labeled)[counted].sum() / counted.sum()
        return float(supervised + (cross_entropy(target, strong) * mask).sum() / U)

    losses = check_step(method, batch, reference)
    assert 0 < mask.sum() < U and 0 < counted.sum() < L
    assert (softmax(joint).max(-1) <= 0.4 * (1 - 1 / 3) + 1 / 3).tolist() != counted.tolist(), (
        "of the label, not the top"
    )
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("annealing", "expected"),
    [
        ("none", [1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1]),
        ("log", [1 / 3, 1 / 3 + 2 / 3 * (1 - np.exp(-2.5)), 1 / 3 + 2 / 3 * (1 - np.exp(-5))]),
        ("exp", [1 / 3 + 2 / 3 * np.exp(-5), 1 / 3 + 2 / 3 * np.exp(-2.5), 1]),
    ],
)
def test_labeled_images_that_are_known_better_than_the_schedule_do_not_count(
    annealing: str, expected: list[float]
) -> None:
    for progress, threshold in zip((0.0, 0.5, 1.0), expected, strict=True):
        for above in (False, True):
            method = attached(Uda, annealing=annealing)
            known = threshold + 1e-3 if above else threshold - 1e-3
            if known >= 1:
                continue
            logits = np.log([known, (1 - known) / 2, (1 - known) / 2])
            with torch.no_grad():
                method.net.head.linear.weight.zero_()  # type: ignore[union-attr, operator]
                method.net.head.linear.bias.copy_(torch.tensor(logits))  # type: ignore[union-attr, operator]
            batch = make_batch(method, progress=progress)
            batch.labels.zero_()
            found = method.loss(batch).terms["supervised"].detach()
            assert found == pytest.approx(0 if above else -np.log(known), abs=1e-5)


def test_a_step_of_flexmatch_is_held_to_the_thresholds_before_it() -> None:
    method = attached(FlexMatch, threshold=0.9)
    latest = torch.tensor([1, 1, 1, 0, 2, 1, 2, 3, 3, 3])  # 1, 4 and 2 images of the classes, 3 never confident
    method.thresholds.latest.copy_(latest)  # type: ignore[union-attr, operator]
    thresholds = 0.9 * np.array([1 / 7, 1, 1 / 3])  # beta is 1/4, 4/4 and 2/4, and M(1/4) = 1/7, M(1/2) = 1/3
    method.thresholds.threshold.copy_(torch.tensor(thresholds))  # type: ignore[union-attr, operator]
    batch = make_batch(method)
    x, u = images_of(batch)
    prediction = numpy_net(method.net).probabilities(u["weak"])
    label = prediction.argmax(-1)
    mask = prediction.max(-1) >= thresholds[label]

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        pseudo = cross_entropy(one_hot(label), strong) * mask
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + pseudo.mean())

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    # Then the confident images of the batch count as what they are now
    for place, p in zip([7, 2, 5, 0], prediction, strict=True):
        latest[place] = int(p.argmax()) if p.max() > 0.9 else latest[place]
    sigma = np.bincount(latest, minlength=4)
    assert sigma.tolist() == [1, 4, 3, 2]
    beta = sigma[:3] / max(sigma[:3].max(), POOL - sigma[:3].sum())
    found = method.end_epoch(SimpleNamespace())["threshold"]  # type: ignore[arg-type]
    after = 0.9 * beta / (2 - beta)
    np.testing.assert_allclose(found, after, rtol=1e-5)
    assert (prediction.max(-1) >= after[label]).tolist() != mask.tolist(), "these would let others through"


def test_thresholds_of_flexmatch_stay_low_while_most_images_were_never_confident() -> None:
    method = attached(FlexMatch, threshold=0.9)
    method.loss(make_batch(method))  # one image of class 1 and one of class 2 are confident, eight are not
    found = method.end_epoch(SimpleNamespace())["threshold"]  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [0, 0.9 / 15, 0.9 / 15], rtol=1e-5)  # beta = 1/8, M(1/8) = 1/15


def test_flexmatch_lets_all_images_through_until_it_has_learned_something() -> None:
    method = attached(FlexMatch, threshold=0.999999)
    for seed in range(3):
        losses = method.loss(make_batch(method, seed=seed))
        assert losses.mask is not None and losses.mask.tolist() == [1.0] * U


SEEN = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 0]])


def dash(initial: float | None = None, **options: Any) -> Dash:
    """Dash in its selection, with a first threshold or that of the images of `SEEN`."""
    method = attached(Dash, **options)
    assert isinstance(method, Dash)
    asked: list[tuple[str, Any]] = []

    def predict(pool: str, net: str) -> PoolPredictions:
        asked.append((pool, net))
        return PoolPredictions(torch.tensor(SEEN), torch.tensor([0, 1, 1]), torch.arange(3))

    warmup, selection = method.stages()
    method.start_stage(warmup, SimpleNamespace(predict=predict))  # type: ignore[arg-type]
    assert asked == []
    method.start_stage(selection, SimpleNamespace(predict=predict))  # type: ignore[arg-type]
    assert asked == [("labeled", "student")], "labeled images alone make the first threshold"
    if initial is not None:
        method.initial.fill_(initial)
    return method


def test_the_first_threshold_of_dash_is_the_loss_of_the_warmed_up_net_on_the_labeled_images() -> None:
    expected = cross_entropy(one_hot([0, 1, 1]), SEEN).mean()
    method = dash()
    assert float(method.loss(make_batch(method, progress=0)).terms["rho"]) == pytest.approx(1.0001 * expected)


def test_the_threshold_of_dash_falls_in_steps_to_its_least() -> None:
    interval = 9 / 1024
    for progress, drops in ((0, 0), (0.9 * interval, 0), (1.1 * interval, 1), (5.5 * interval, 5)):
        method = dash(initial=2.0)
        found = method.loss(make_batch(method, progress=progress)).terms["rho"]
        assert float(found) == pytest.approx(1.0001 * 1.27**-drops * 2.0, rel=1e-5)
    method = dash(initial=2.0)
    assert float(method.loss(make_batch(method, progress=0.9)).terms["rho"]) == pytest.approx(0.05)


@pytest.mark.parametrize(("variant", "view"), [("described", "weak"), ("described", "strong"), ("released", "weak")])
@pytest.mark.parametrize("hard", [False, True])
def test_a_step_of_dash(variant: str, view: str, hard: bool) -> None:
    batch = make_batch(attached(Dash), progress=0)
    x, u = images_of(batch)
    fixed = numpy_net(attached(Dash).net)
    p = fixed.probabilities(u["weak"])
    label = p.argmax(-1)
    target = one_hot(label) if hard else p**2 / (p**2).sum(-1, keepdims=True)
    of_strong = cross_entropy(target, fixed.joint(x["weak"], u["strong"])[1])
    held = of_strong if view == "strong" else -np.log(p.max(-1))
    rho = float(np.median(held))
    mask = held <= rho
    method = dash(initial=rho, variant=variant, select_by=view, factor=1.0, least=rho if hard else 0.05)

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        selected = cross_entropy(target, strong)[mask].sum() / mask.sum()
        weight = 1.0 if variant == "described" else 0.9
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + weight * selected)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U


def test_dash_warms_up_on_labels_alone_for_its_part_of_the_run() -> None:
    method = attached(Dash)
    warmup, selection = method.stages()
    assert warmup.data == "labeled" and not warmup.views.unlabeled
    assert warmup.share / (warmup.share + selection.share) == pytest.approx(10 / 1024)
    batch = make_batch(method)
    x, _ = images_of(batch)
    found = warmup.loss(batch).total.detach()
    expected = cross_entropy(one_hot(LABELS), numpy_net(method.net).logits(x["weak"])).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def adamatch_parts(net: NumpyNet, x: dict[str, Array], u: dict[str, Array], share: Array) -> list[Array]:
    """Interpolated logits of weak and strong labeled views, logits of weak and strong unlabeled ones."""
    weak, strong, u_weak, u_strong = net.joint(x["weak"], x["strong"], u["weak"], u["strong"])
    alone = net.joint(x["weak"], x["strong"])
    return [
        share[:L] * weak + (1 - share[:L]) * alone[0],
        share[L:] * strong + (1 - share[L:]) * alone[1],
        u_weak,
        u_strong,
    ]


@pytest.mark.parametrize("variant", ["described", "released"])
def test_a_step_of_adamatch(variant: str) -> None:
    method = attached(AdaMatch, variant=variant)
    for mean in (method.labeled_mean, method.unlabeled_mean):  # of two batches, so that this one counts
        assert mean.recent.shape == (128, 3)  # type: ignore[union-attr]
        mean.recent = torch.full((2, 3), 1 / 3)  # type: ignore[union-attr]
    batch = make_batch(method, progress=0.2)
    x, u = images_of(batch)
    share = np.random.default_rng(5).uniform(size=(2 * L, 3))
    method.uniform = lambda images, *shape: torch.tensor(share, dtype=torch.float32)  # type: ignore[method-assign]
    known, _, prediction, _ = (softmax(z) for z in adamatch_parts(numpy_net(method.net), x, u, share))
    wanted, found = ((1 / 3 + p.mean(0)) / 2 for p in (known, prediction))
    aligned = prediction * wanted / found
    aligned = aligned / aligned.sum(-1, keepdims=True)
    mask = aligned.max(-1) >= 0.9 * known.max(-1).mean()
    assert mask.tolist() != (aligned.max(-1) >= 0.9 * prediction.max(-1).mean()).tolist()
    target = aligned if variant == "described" else one_hot(aligned.argmax(-1))
    weight = 1.0 if variant == "described" else 0.5
    mu = 0.5 - np.cos(min(np.pi, 2 * np.pi * 0.2)) / 2

    def reference(net: NumpyNet) -> float:
        weak, strong, _, u_strong = adamatch_parts(net, x, u, share)
        labeled = cross_entropy(one_hot(LABELS), weak).mean() + cross_entropy(one_hot(LABELS), strong).mean()
        return float(weight * labeled + mu * (cross_entropy(target, u_strong) * mask).mean())

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    assert method.joint_forward is True


def test_adamatch_weighs_unlabeled_images_fully_from_the_middle_of_the_run() -> None:
    for progress, expected in ((0, 0), (0.25, 0.5), (0.5, 1), (0.9, 1)):
        method = attached(AdaMatch)
        losses = method.loss(make_batch(method, progress=progress))
        assert losses.terms["unlabeled"] > 0
        assert weight_of(losses, "unlabeled") == pytest.approx(expected, abs=1e-4)


def test_adamatch_moves_predictions_to_the_classes_of_the_labeled_images() -> None:
    method = attached(AdaMatch)
    batch = make_batch(method)
    method.labeled_mean.recent.copy_(torch.tensor([0.8, 0.1, 0.1]))  # type: ignore[union-attr, operator]
    method.unlabeled_mean.recent.copy_(torch.tensor([0.1, 0.8, 0.1]))  # type: ignore[union-attr, operator]
    said = method.loss(batch).pseudo_label
    assert said is not None
    raw = adamatch_parts(numpy_net(method.net), *images_of(batch), share=np.zeros((2 * L, 3)))[2]
    moved = (softmax(raw) * [8, 1 / 8, 1]).argmax(-1)
    assert moved.tolist() != raw.argmax(-1).tolist()
    assert said.tolist() == moved.tolist()
