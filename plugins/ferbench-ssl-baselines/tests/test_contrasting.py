"""CoMatch, SimMatch and CCSSL against their equations, written with loops in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.numeric_step import (
    LABELS,
    POOL,
    Array,
    C,
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
)

from ferbench.contract.method import Method
from ferbench_ssl_baselines.ccssl import CCSSL
from ferbench_ssl_baselines.comatch import CoMatch
from ferbench_ssl_baselines.simmatch import SimMatch


def projection_of(method: Method) -> Callable[[Array], Array]:
    """Features to unit vectors, in double precision."""
    first, _, second = method.networks["projection"].layers  # type: ignore[union-attr, misc]
    (a, b), (c, d) = ([p.detach().double().numpy() for p in (layer.weight, layer.bias)] for layer in (first, second))

    def project(features: Array) -> Array:
        out = np.maximum(features @ a.T + b, 0) @ c.T + d
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))

    return project


def joint_features(net: NumpyNet, *images: Array) -> list[Array]:
    return np.split(net.features(np.concatenate(images)), np.cumsum([len(each) for each in images])[:-1])


def the_projection_learns(method: Method) -> bool:
    return all(p.grad is not None and bool(p.grad.any()) for p in method.networks["projection"].parameters())


def random_rows(shape: tuple[int, int], seed: int) -> Array:
    rows = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


# -- CoMatch -----------------------------------------------------------------------------------------------------------

K, D = 6, 4


def comatch(**options: Any) -> Method:
    return attached(CoMatch, **{"memory": K, "embedding": D, "align_batches": 3, **options})


def aligned(prediction: Array, recent: Array) -> Array:
    """Divided by the mean of this batch and the ones before, to rows of sum 1: no proportions of the labels."""
    scaled = prediction / np.mean([*recent, prediction.mean(0)], 0)
    return np.asarray(scaled / scaled.sum(1, keepdims=True))


def fill(method: Method, seed: int = 5) -> tuple[Array, Array, Array]:
    """A full memory, and two batches before this one: probabilities, embeddings, means."""
    random = np.random.default_rng(seed)
    probabilities, embeddings = random.dirichlet([1, 1, 1], size=K), random_rows((K, D), seed)
    recent = random.dirichlet([3, 2, 1], size=3)
    method.probabilities.copy_(torch.tensor(probabilities))  # type: ignore[union-attr, operator]
    method.embeddings.copy_(torch.tensor(embeddings))  # type: ignore[union-attr, operator]
    method.recent.recent.copy_(torch.tensor(recent))  # type: ignore[union-attr, operator]
    return probabilities, embeddings, recent[1:]


def test_a_step_of_comatch() -> None:
    method = comatch(threshold=0.5, edge=0.4, smoothing=0.7, unlabeled_weight=2.0, contrast_weight=3.0)
    memory, embeddings, recent = fill(method)
    batch = make_batch(method)
    x, u = images_of(batch)
    fixed, project = numpy_net(method.net), projection_of(method)
    own, z = aligned(fixed.probabilities(u["weak"]), recent), project(fixed.features(u["weak"]))
    q = np.array([0.7 * own[b] + 0.3 * sum(a * p for a, p in zip(softmax(embeddings @ z[b] / 0.2), memory, strict=True))
                  for b in range(U)])  # fmt: skip
    mask = q.max(1) >= 0.5
    edges = [[1.0 if b == j else q[b] @ q[j] * (q[b] @ q[j] >= 0.4) for j in range(U)] for b in range(U)]

    def reference(net: NumpyNet) -> float:
        labeled, strong, _ = net.joint(x["weak"], u["strong"], u["again"])
        _, first, second = map(project, joint_features(net, x["weak"], u["strong"], u["again"]))
        contrast = 0.0
        for b in range(U):
            w = [np.exp((first[b] @ (second[b] if b == j else first[j])) / 0.2) for j in range(U)]
            contrast -= sum(e / sum(edges[b]) * np.log(v / sum(w)) for e, v in zip(edges[b], w, strict=True)) / U
        consistency = (cross_entropy(q, strong) * mask).mean()
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + 2 * consistency + 3 * contrast)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    pairs = [edges[b][j] > 0 for b in range(U) for j in range(b)]
    assert 0 < sum(pairs) < len(pairs)
    assert the_projection_learns(method)
    # The batch is in the memory: unlabeled images with what they were before the smoothing, then labeled ones
    kept = [*own, *one_hot(LABELS)][:K]
    np.testing.assert_allclose(method.probabilities, kept, rtol=1e-4)  # type: ignore[arg-type]
    labeled_z = project(joint_features(fixed, x["weak"], u["strong"], u["again"])[0])
    np.testing.assert_allclose(method.embeddings, [*z, *labeled_z][:K], rtol=1e-3, atol=1e-5)  # type: ignore[arg-type]


def test_comatch_smooths_nothing_until_its_memory_is_full() -> None:
    method, recent = comatch(memory=U + L + 1, smoothing=0.0, align_batches=1), np.empty((0, C))
    for step in range(3):
        batch = make_batch(method, seed=step)
        weak, project = images_of(batch)[1]["weak"], projection_of(method)
        memory, embeddings = (each.clone().double().numpy() for each in (method.probabilities, method.embeddings))  # type: ignore[union-attr, operator]
        own = aligned(numpy_net(method.net).probabilities(weak), recent)
        z = project(numpy_net(method.net).features(weak))
        smoothed = softmax(z @ embeddings.T / 0.2) @ memory
        found = method.loss(batch).pseudo_label
        assert found is not None and found.tolist() == (own if step < 2 else smoothed).argmax(1).tolist(), step
        assert own.argmax(1).tolist() != smoothed.argmax(1).tolist()


# -- SimMatch ----------------------------------------------------------------------------------------------------------


def simmatch(labels: list[int], **options: Any) -> tuple[Method, Array]:
    """With embeddings of the labeled images, of whom all but the `labels` of -1 have been seen."""
    method = attached(SimMatch, **{"embedding": D, "align_batches": 1, **options})
    embeddings = random_rows((10, D), 8)
    method.embeddings.copy_(torch.tensor(embeddings))  # type: ignore[union-attr, operator]
    method.labels.copy_(torch.tensor(np.array([one_hot(y) if y >= 0 else np.zeros(C) for y in labels])))  # type: ignore[union-attr, operator]
    return method, embeddings


SEEN = [0, 2, 1, 1, 0, 0, 2, 1, 0, 0]


def test_a_step_of_simmatch() -> None:
    options = {"threshold": 0.45, "smoothing": 0.6, "temperature": 0.3, "unlabeled_weight": 2.0, "instance_weight": 3.0}
    method, memory = simmatch(SEEN, **options)
    batch = make_batch(method)
    x, u = images_of(batch)
    fixed, project = numpy_net(method.net), projection_of(method)
    p = aligned(fixed.probabilities(u["weak"]), np.empty((0, C)))
    z = project(fixed.features(u["weak"]))
    q = softmax(z @ memory.T / 0.3)
    unfolded = np.array([[q[b, i] * p[b, SEEN[i]] for i in range(10)] for b in range(U)])
    instances = unfolded / unfolded.sum(1, keepdims=True)
    aggregated = [[sum(q[b, i] for i in range(10) if SEEN[i] == c) for c in range(C)] for b in range(U)]
    target = 0.6 * p + 0.4 * np.array(aggregated)
    mask = target.max(1) >= 0.45

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        likeness = project(joint_features(net, x["weak"], u["strong"])[1]) @ memory.T / 0.3
        total = cross_entropy(one_hot(LABELS), labeled).mean() + 2 * (cross_entropy(target, strong) * mask).mean()
        return float(total + 3 * cross_entropy(instances, likeness).mean())

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist() and 0 < mask.sum() < U
    assert the_projection_learns(method)
    # Images 0 to 4 of the labeled ones were in the batch
    new = project(joint_features(fixed, x["weak"], u["strong"])[0])
    moved = 0.7 * memory[:5] + 0.3 * new
    expected = [*(moved / np.linalg.norm(moved, axis=1, keepdims=True)), *memory[5:]]
    np.testing.assert_allclose(method.embeddings, expected, rtol=1e-3, atol=1e-5)  # type: ignore[arg-type]
    assert method.labels.argmax(1).tolist() == [*LABELS, *SEEN[5:]]  # type: ignore[union-attr, operator]


def test_simmatch_uses_its_memory_once_it_has_every_labeled_image() -> None:
    method, _ = simmatch([*SEEN[:5], *SEEN[5:9], -1], threshold=0.45)
    batch = make_batch(method)
    x, u = images_of(batch)
    p = aligned(numpy_net(method.net).probabilities(u["weak"]), np.empty((0, C)))

    def reference(net: NumpyNet) -> float:
        labeled, strong = net.joint(x["weak"], u["strong"])
        consistency = (cross_entropy(p, strong) * (p.max(1) >= 0.45)).mean()
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + consistency)

    check_step(method, batch, reference)


# -- CCSSL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("push", [0.0, 0.6])
def test_a_step_of_ccssl(push: float) -> None:
    method = attached(CCSSL, embedding=D, threshold=0.55, push=push, temperature=0.3, contrast_weight=2.0)
    with torch.no_grad():  # so that all four images have one of two labels
        method.net.head.linear.bias[1] -= 3  # type: ignore[union-attr, index]
    batch = make_batch(method)
    x, u = images_of(batch)
    prediction, project = numpy_net(method.net).probabilities(u["weak"]), projection_of(method)
    sure, label = prediction.max(1), prediction.argmax(1)
    mask = sure >= 0.55

    def weight(i: int, j: int) -> float:
        if i == j:
            return 1.0  # whatever its confidence: two views of one image
        return float(sure[i] * sure[j]) if label[i] == label[j] and min(sure[i], sure[j]) >= push else 0.0

    def reference(net: NumpyNet) -> float:
        labeled, strong, _ = net.joint(x["weak"], u["strong"], u["again"])
        _, first, second = map(project, joint_features(net, x["weak"], u["strong"], u["again"]))
        z, contrast = [*first, *second], 0.0
        for i in range(2 * U):
            others = [j for j in range(2 * U) if j != i]
            shares = softmax(np.array([z[i] @ z[j] / 0.3 for j in others]))
            weights = np.array([weight(i % U, j % U) for j in others])
            contrast -= (weights * np.log(shares)).sum() / weights.sum() / (2 * U)
        consistency = (cross_entropy(one_hot(label), strong) * mask).mean()
        return float(cross_entropy(one_hot(LABELS), labeled).mean() + consistency + 2 * contrast)

    losses = check_step(method, batch, reference)
    assert losses.mask is not None and losses.mask.tolist() == mask.tolist()
    pairs = [weight(i, j) > 0 for i in range(U) for j in range(i)]
    assert 0 < sum(pairs) < len(pairs)
    assert the_projection_learns(method)


def test_the_pool_bounds_the_memory_of_comatch() -> None:
    assert comatch(memory=POOL).pool_problem(POOL) == ""
    problem = comatch(memory=11).pool_problem(POOL)
    assert "memory of 11 images" in problem and "--set comatch.memory" in problem
