"""Noisy Student and CReST: whom they choose of the pool, by hand, and their steps against their equations."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    INFO,
    LABELS,
    POOL,
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

from ferbench.contract.batch import UnlabeledPredictions
from ferbench.contract.method import Method
from ferbench.contract.stage import Stage
from ferbench_ssl_baselines.crest import CReST
from ferbench_ssl_baselines.noisy_student import NoisyStudent, balanced_copies

INDEX = [7, 2, 5, 0]  # of the unlabeled images of a batch, in the pool


def rows(labels: list[int], confidence: list[float]) -> Array:
    """Predictions (N, C) of labels with a confidence, the rest shared."""
    return np.array(
        [[p if c == y else (1 - p) / (C - 1) for c in range(C)] for y, p in zip(labels, confidence, strict=True)]
    )


def start(method: Method, stage: Stage, prediction: Array) -> None:
    """Start a stage with these predictions of the pool, which come in two parts and in another order."""

    def predict(pool: str) -> Iterator[UnlabeledPredictions]:
        assert pool == "unlabeled"
        for part in np.split(np.random.default_rng(0).permutation(len(prediction)), [3]):
            yield UnlabeledPredictions(torch.tensor(np.log(prediction[part])).float(), torch.tensor(part))

    method.start_stage(stage, SimpleNamespace(predict=predict))  # type: ignore[arg-type]


# -- Noisy Student -----------------------------------------------------------------------------------------------------


def test_the_balanced_set_has_the_surest_of_large_classes_and_copies_of_small_ones() -> None:
    labels = [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]
    confidence = [0.9, 0.5, 0.8, 0.7, 0.6, 0.9, 0.8, 0.35, 0.9, 0.2 + 1 / 6]
    # All but the two of 0.35 and 0.37 reach 0.4: 5, 2 and 1 images, of which each class should have 8 / 3
    copies = balanced_copies(torch.tensor(rows(labels, confidence)), 0.4)
    expected = [1, 0, 1, 1, 0, 4 / 3, 4 / 3, 0, 8 / 3, 0]
    assert copies.tolist() == pytest.approx(expected)


def test_a_class_without_images_takes_no_part_and_nobody_confident_is_no_set() -> None:
    two = rows([0, 0, 0, 2], [0.9, 0.8, 0.7, 0.9])
    assert balanced_copies(torch.tensor(two), 0.3).tolist() == pytest.approx([1, 1, 0, 2])
    assert balanced_copies(torch.tensor(two), 0.95).tolist() == [0] * 4


def test_a_step_of_a_student_has_soft_labels_of_the_whole_pool() -> None:
    method = attached(NoisyStudent, threshold=0.55)
    labels, confidence = [0, 1, 2, 0, 1, 0, 0, 2, 1, 2], [0.6, 0.5, 0.9, 0.8, 0.7, 0.95, 0.9, 0.6, 0.5, 0.4]
    prediction = rows(labels, confidence)
    teacher, first, *_ = method.stages()
    start(method, teacher, prediction)
    assert not method.get_buffer("copies").any()
    start(method, first, prediction)
    # 4 of class 0, 1 of class 1 and 2 of class 2 are confident: 7 / 3 each
    copies = {0: 0, 3: 1, 5: 1, 6: 1, 4: 7 / 3, 2: 7 / 6, 7: 7 / 6}
    assert method.get_buffer("copies").tolist() == pytest.approx([copies.get(i, 0) for i in range(POOL)])
    assert first.unlabeled_weights is not None and torch.equal(first.unlabeled_weights(), method.get_buffer("copies"))
    batch = make_batch(method)
    x, u = images_of(batch)

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["strong"], u["strong"])
        # The batch is drawn from the set already; an image that is not in it has no loss
        total = sum(cross_entropy(prediction[i], z) for i, z in zip(INDEX, strong, strict=True) if copies.get(i, 0))
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + total / U)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == [1, 1, 1, 0]
    assert losses.pseudo_label is not None and losses.pseudo_label.tolist() == [labels[i] for i in INDEX]


def test_where_nobody_is_confident_students_learn_labels_alone() -> None:
    method = attached(NoisyStudent, threshold=0.99)
    _, first, *_ = method.stages()
    start(method, first, rows([0] * POOL, [0.9] * POOL))
    assert first.unlabeled_weights is not None and first.unlabeled_weights().tolist() == [1] * POOL
    losses = method.loss(make_batch(method))
    assert float(losses.terms["unlabeled"]) == 0 and torch.equal(losses.total, losses.terms["supervised"])


def test_the_teacher_of_noisy_student_sees_labels_alone_and_all_have_noise() -> None:
    method = NoisyStudent(NoisyStudent.Config(iterations=2))
    stages = method.stages()
    assert [(s.name, s.data, s.fresh, s.share) for s in stages] == [
        ("teacher", "labeled", False, 1),
        ("student1", "labeled+unlabeled", True, 1),
        ("student2", "labeled+unlabeled", True, 1),
    ]
    kinds = {v.kind for s in stages for side in (s.views.labeled, s.views.unlabeled or {}) for v in side.values()}
    assert kinds == {"strong"}
    head, features = method.make_head(400, C), torch.ones(1, 400)
    with torch.no_grad():
        noisy = [head(features).logits for _ in range(3)]
        plain = [head.eval()(features).logits for _ in range(3)]
    assert not torch.equal(noisy[0], noisy[1]) and torch.equal(plain[0], plain[1])


# -- CReST -------------------------------------------------------------------------------------------------------------


def crest(counts: tuple[int, int, int] = (5, 3, 2), **options: Any) -> Method:
    method = attached(CReST, **options)
    info = replace(INFO, class_counts=counts)
    method.attach(method.net, method.teacher, torch.Generator().manual_seed(1), info)
    return method


LABEL = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
SURE = [0.6, 0.9, 0.7, 0.8, 0.5, 0.9, 0.6, 0.9, 0.4, 0.5]


@pytest.mark.parametrize(
    ("counts", "rates"),
    [
        ((5, 3, 2), (2 / 5, 3 / 5, 1)),
        ((2, 8, 4), (1, 2 / 8, 4 / 8)),  # by rank, not by number of class
        ((4, 4, 4), (1, 1, 1)),
        ((4, 1, 1), (1 / 4, 1 / 4, 1)),  # of equals the later one is the rarer
    ],
)
def test_the_surest_of_each_class_are_added_most_of_the_rarest(counts: Any, rates: Any) -> None:
    method = crest(counts, power=0.5)
    start(method, method.stages()[1], rows(LABEL, SURE))
    expected = [-1] * POOL
    for c, rate in enumerate(rates):
        own = sorted((i for i in range(POOL) if LABEL[i] == c), key=lambda i: -SURE[i])
        for i in own[: int(len(own) * rate**0.5)]:
            expected[i] = c
    assert method.get_buffer("label").tolist() == expected


def test_the_next_generation_chooses_anew() -> None:
    method = crest()
    _, first, second, *_ = method.stages()
    start(method, first, rows(LABEL, SURE))
    start(method, second, rows(LABEL[::-1], SURE[::-1]))
    again = crest()
    start(again, second, rows(LABEL[::-1], SURE[::-1]))
    assert torch.equal(method.get_buffer("label"), again.get_buffer("label"))


def test_a_step_of_crest_is_fixmatch_with_a_larger_labeled_set() -> None:
    method, added = crest(threshold=0.55), {7: 2, 5: 0, 1: 0, 3: 2}
    method.get_buffer("label").copy_(torch.tensor([added.get(i, -1) for i in range(POOL)]))
    batch = make_batch(method)
    x, u = images_of(batch)
    weak = numpy_net(method.net).joint(x["weak"], u["weak"], u["strong"])[1]
    prediction = softmax(weak)
    mask = prediction.max(1) >= 0.55

    def reference(net: NumpyNet) -> float:
        labeled, weak, strong = net.joint(x["weak"], u["weak"], u["strong"])
        # 10 labeled images, for whom those of the batch stand, and 4 that are added, for whom two of four do: POOL / U
        sums = 10 * cross_entropy(one_hot(LABELS), labeled).mean()
        sums += POOL / U * (cross_entropy(one_hot(2), weak[0]) + cross_entropy(one_hot(0), weak[2]))
        pseudo = cross_entropy(one_hot(prediction.argmax(1)), strong) * mask
        return float(sums / 14 + pseudo.mean())

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.pseudo_label is not None
    assert losses.mask.tolist() == [bool(m) or i in added for m, i in zip(mask, INDEX, strict=True)]
    assert 0 < losses.mask.sum() < U
    trained = [p if m else added.get(i, 0) for p, m, i in zip(prediction.argmax(1), mask, INDEX, strict=True)]
    assert losses.pseudo_label.tolist() == trained


def test_the_first_generation_is_fixmatch() -> None:
    method = crest(threshold=0.55)
    start(method, method.stages()[0], rows(LABEL, SURE))
    batch = make_batch(method)
    x, u = images_of(batch)
    prediction = softmax(numpy_net(method.net).joint(x["weak"], u["weak"], u["strong"])[1])
    mask = prediction.max(1) >= 0.55

    def reference(net: NumpyNet) -> float:
        labeled, _, strong = net.joint(x["weak"], u["weak"], u["strong"])
        pseudo = cross_entropy(one_hot(prediction.argmax(1)), strong) * mask
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + pseudo.mean())

    check_step(method, batch, reference)


@pytest.mark.parametrize(("generation", "power"), [(0, 1), (1, 0.75), (2, 0.5)])
def test_alignment_flattens_the_proportions_from_generation_to_generation(generation: int, power: float) -> None:
    def mask(threshold: float) -> torch.Tensor | None:
        method = crest(variant="plus", generations=3, align_batches=1, threshold=threshold)
        start(method, method.stages()[generation], rows(LABEL, SURE))
        method.get_buffer("label").fill_(-1)
        return method.loss(make_batch(method)).mask

    method = crest()
    x, u = images_of(make_batch(method))
    prediction = softmax(numpy_net(method.net).joint(x["weak"], u["weak"], u["strong"])[1])
    scaled = prediction * np.array([0.5, 0.3, 0.2]) ** power / prediction.mean(0)
    confidence = (scaled / scaled.sum(1, keepdims=True)).max(1)
    for i, sure in enumerate(confidence):
        below, above = mask(float(sure) - 1e-4), mask(float(sure) + 1e-4)
        assert below is not None and above is not None
        assert (below[i], above[i]) == (1, 0)
