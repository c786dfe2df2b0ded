"""VAT against its equations, and its perturbation against the exact second derivatives."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.support.numeric_step import (
    LABELS,
    SIZE,
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
)

from ferbench.builtin.backbones.small_resnet import build
from ferbench.contract.backbone import BackboneRequest, Network
from ferbench.contract.head import LinearHead
from ferbench.contract.method import frozen_bn
from ferbench_ssl_baselines.vat import Vat

N = L + U
SCALE = SIZE / 32


def divergence(clean: Array, logits: Array) -> float:
    p = softmax(clean)
    return float((p * (np.log(p) - np.log(softmax(logits)))).sum(-1).mean())


def gradient(function: Callable[[Array], float], at: Array) -> Array:
    """By central differences."""
    found = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        found[place] = (function(at + step) - function(at - step)) / 2e-6
    return found


def unit(vectors: Array) -> Array:
    return vectors / np.sqrt((vectors**2).sum((1, 2, 3), keepdims=True))


@pytest.mark.parametrize(("options", "entropy_weight"), [({}, 0.0), ({"variant": "entropy"}, 1.0)])
def test_a_step(options: dict[str, str], entropy_weight: float) -> None:
    # A step that differences can be taken at
    method = attached(Vat, xi=1.0, **options)
    batch = make_batch(method)
    x, u = images_of(batch)
    images = np.concatenate([x["weak"], u["weak"]])
    random = np.random.default_rng(7).normal(size=images.shape)
    method.normal = lambda images, *shape: torch.tensor(random, dtype=torch.float32)  # type: ignore[method-assign]
    fixed = numpy_net(method.net)
    clean = fixed.logits(images)
    g = gradient(lambda r: divergence(clean, fixed.logits(images + r)), SCALE * unit(random))
    perturbed = images + 8 * SCALE * unit(g)

    def reference(net: NumpyNet) -> float:
        labeled = cross_entropy(one_hot(LABELS), net.logits(x["weak"])).mean()
        entropy = cross_entropy(net.probabilities(images), net.logits(images)).mean()
        return float(labeled + divergence(clean, net.logits(perturbed)) + entropy_weight * entropy)

    check_step(method, batch, reference, tolerance=1e-3)


def test_the_perturbation_has_the_norm_of_the_papers_images_per_pixel() -> None:
    method = attached(Vat, epsilon=6.0)
    batch = make_batch(method)
    seen: list[Array] = []
    method.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].detach().double().numpy()))
    method.loss(batch)
    _, clean, probe, perturbed = seen
    norms = [np.sqrt(((each - clean) ** 2).sum((1, 2, 3))) for each in (probe, perturbed)]
    np.testing.assert_allclose(norms[0], 0.01 * SCALE, rtol=1e-2)
    np.testing.assert_allclose(norms[1], 6 * SCALE, rtol=1e-4)


def direction(net: Network, images: torch.Tensor, d: torch.Tensor, xi: float) -> torch.Tensor:
    method = Vat(Vat.Config(xi=xi, epsilon=1.0))
    method.attach(net, net, torch.Generator(), None)  # type: ignore[arg-type]
    method.normal = lambda images, *shape: d  # type: ignore[method-assign]
    with method.probing():
        return F.normalize(method._perturbation(images, net(images).logits.detach()).flatten(1))


def exact_direction(net: Network, images: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """H d / |H d|, H the second derivatives of the divergence at 0 (Eq. 12), by autograd in double precision."""
    net, images, d = net.double(), images.double(), d.double()
    with frozen_bn(net):
        clean = net.head(net.backbone(images)).logits.detach().log_softmax(-1)
        r = torch.zeros_like(images).requires_grad_()
        perturbed = net.head(net.backbone(images + r)).logits.log_softmax(-1)
        value = F.kl_div(perturbed, clean, reduction="batchmean", log_target=True)
        (g,) = torch.autograd.grad(value, r, create_graph=True)
        (h,) = torch.autograd.grad((g * d).sum(), r)
    return F.normalize(h.flatten(1))


def test_the_direction_is_that_of_the_second_derivatives_and_the_papers_step_is_lost_in_single_precision() -> None:
    torch.manual_seed(0)
    backbone = build(BackboneRequest("4", 16))
    net = Network(backbone, LinearHead(backbone.feature_size, 7)).train()
    images = torch.randn(8, 3, 16, 16)
    d = F.normalize(torch.randn(8, 3 * 16 * 16)).view_as(images)
    found = {xi: direction(net, images, d, xi).double() for xi in (Vat.Config().xi, 1e-6, 10.0)}
    exact = exact_direction(net, images, d)
    cosine = {xi: float((each * exact).sum(1).mean()) for xi, each in found.items()}
    assert cosine[Vat.Config().xi] > 0.99
    assert cosine[1e-6] < 0.5, "the paper's step is lost when it is added to single-precision pixels"
    assert cosine[10.0] < 0.9, "the step of popular code is far from where the second derivatives hold"


def test_bf16_does_not_reach_the_probe() -> None:
    method = attached(Vat)
    batch = make_batch(method)
    kinds: list[torch.dtype] = []
    method.net.head.register_forward_hook(lambda head, inputs, output: kinds.append(output.logits.dtype))  # type: ignore[union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        method.loss(batch)
    assert kinds == [torch.bfloat16, torch.float32, torch.float32, torch.bfloat16]
