"""A method's step on a net of a few numbers, beside the same in numpy: its loss, and its gradient by differences.

Reference losses are functions of a `NumpyNet`. What the method holds constant (targets, masks) they take from a net
that does not change, so that a gradient that flows where it should not, or does not where it should, shows.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ferbench.contract.backbone import Backbone, Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, ViewSet
from ferbench.contract.head import LinearHead
from ferbench.contract.method import Builders, Method

Array = np.ndarray[Any, np.dtype[np.float64]]

L, U, C = 5, 4, 3
SIZE = 2  # pixels
FEATURES = 3 * SIZE**2
POOL = 10
INFO = MethodInfo(("neutral", "happiness", "sadness"), (5, 3, 2), 10, POOL, 100, 5, FEATURES)
LABELS = np.array([0, 2, 1, 1, 0])


class Pixels(Backbone):
    """BatchNorm over the pixels."""

    feature_size = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(images.flatten(1))
        return features


@dataclass(frozen=True)
class NumpyNet:
    """The same net from the same numbers, in double precision; `values` are those of a state dict by name."""

    values: Mapping[str, Array]

    def features(self, images: Array, *, evaluation: bool = False) -> Array:
        flat = images.reshape(len(images), -1)
        mean, var = flat.mean(0), flat.var(0)
        if evaluation:
            mean, var = self.values["backbone.norm.running_mean"], self.values["backbone.norm.running_var"]
        standard = (flat - mean) / np.sqrt(var + 1e-5)
        return standard * self.values["backbone.norm.weight"] + self.values["backbone.norm.bias"]

    def logits(self, images: Array, *, evaluation: bool = False) -> Array:
        features = self.features(images, evaluation=evaluation)
        return features @ self.values["head.linear.weight"].T + self.values["head.linear.bias"]

    def probabilities(self, images: Array, *, evaluation: bool = False) -> Array:
        return softmax(self.logits(images, evaluation=evaluation))

    def joint(self, *images: Array) -> list[Array]:
        """Logits of several views that go through the net in one batch."""
        ends = np.cumsum([len(each) for each in images])[:-1]
        return np.split(self.logits(np.concatenate(images)), ends)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(target: Array, logits: Array) -> Array:
    """H(target, softmax of logits) of each row."""
    return -(target * np.log(softmax(logits))).sum(-1)


def one_hot(labels: Any, n_classes: int = C) -> Array:
    return np.eye(n_classes)[labels]


def attached(method_class: type[Method], **options: Any) -> Method:
    """The method with options on a net and a teacher of other weights, as in a run; `variant=` names a variant."""
    torch.manual_seed(0)
    config = {**method_class.variants[options.pop("variant", next(iter(method_class.variants)))], **options}
    method = method_class(method_class.Config.model_validate(config))
    net, teacher = (Network(Pixels(), LinearHead(FEATURES, C)) for _ in range(2))
    for each in (net, teacher):  # nothing at a value that it has by default
        for value in each.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value))
    method.prepare(Builders(lambda: copy.deepcopy(net), Pixels, lambda name: 1))
    method.setup(net, INFO)
    method.attach(net.train(), teacher.eval(), torch.Generator().manual_seed(1), INFO)
    return method.train()


def make_batch(method: Method, *, progress: float = 0.5, seed: int = 0) -> Batch:
    """Normal pixels in the views of a method's last stage; the unlabeled images are 7, 2, 5 and 0 of the pool."""
    views, random = list(method.stages())[-1].views, np.random.default_rng(seed)

    def view_set(names: Mapping[str, Any], index: list[int]) -> ViewSet:
        images = {n: torch.tensor(random.normal(size=(len(index), 3, SIZE, SIZE)), dtype=torch.float32) for n in names}
        return ViewSet(images, torch.tensor(index), {name: torch.zeros(len(index), 4) for name in names})

    unlabeled = view_set(views.unlabeled, [7, 2, 5, 0]) if views.unlabeled else None
    step, rate = torch.tensor(int(100 * progress)), torch.tensor(0.1)
    probs = torch.tensor(one_hot(LABELS), dtype=torch.float32)
    labeled = view_set(views.labeled, [0, 1, 2, 3, 4])
    return Batch(labeled, unlabeled, torch.tensor(LABELS), probs, step, torch.tensor(float(progress)), rate)


def images_of(batch: Batch) -> tuple[dict[str, Array], dict[str, Array]]:
    """The labeled and the unlabeled views as doubles."""
    sides = (batch.labeled.images, batch.unlabeled.images if batch.unlabeled else {})
    labeled, unlabeled = ({name: view.double().numpy() for name, view in side.items()} for side in sides)
    return labeled, unlabeled


def weight_of(losses: Losses, term: str) -> float:
    """What a term is multiplied by in a total that is the supervised term and this one."""
    return float(((losses.total - losses.terms["supervised"]) / losses.terms[term]).detach())


def numpy_net(net: nn.Module) -> NumpyNet:
    return NumpyNet({name: value.double().numpy().copy() for name, value in net.state_dict().items()})


def check_step(method: Method, batch: Batch, reference: Callable[[NumpyNet], float], tolerance: float = 2e-4) -> Losses:
    """A step's total and the gradient of all parameters of the net are those of the reference; returns the losses."""
    fixed = numpy_net(method.net)
    losses = method.loss(batch)
    losses.total.backward()
    np.testing.assert_allclose(float(losses.total.detach()), reference(fixed), rtol=tolerance)
    for name, parameter in method.net.named_parameters():
        expected = np.zeros(parameter.shape)
        for place in np.ndindex(*parameter.shape):
            around = []
            for change in (1e-5, -1e-5):
                moved = fixed.values[name].copy()
                moved[place] += change
                around.append(reference(NumpyNet({**fixed.values, name: moved})))
            expected[place] = (around[0] - around[1]) / 2e-5
        found = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * abs(expected).max(), err_msg=name)
    return losses
