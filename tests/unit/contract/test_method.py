"""How a method's views go through the net, and the names of its options."""

from collections.abc import Mapping

import pytest
import torch
from pydantic import Field
from torch import Tensor

from ferbench.conformance.static_check import ToyBackbone
from ferbench.conformance.toy_task import INFO
from ferbench.contract.backbone import Features, Network
from ferbench.contract.batch import Batch, Losses, Views, ViewSet, plain, strong, weak
from ferbench.contract.head import LinearHead, Output
from ferbench.contract.method import Method, MethodConfig

B = 6


class Viewer(Method):
    """Looks at four views, of each set one without gradient."""

    views = Views(
        labeled={"plain": plain(gradient=False), "weak": weak()},
        unlabeled={"strong": strong(), "weak": weak(gradient=False)},
    )

    def loss(self, batch: Batch) -> Losses:
        raise NotImplementedError


def view_set(views: Mapping[str, object], seed: int) -> ViewSet:
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(B, 3, 16, 16, generator=generator) for name in views}
    return ViewSet(images, torch.arange(B), {})


def batch(views: Views) -> Batch:
    nothing = torch.zeros(())
    unlabeled = view_set(views.unlabeled, 2) if views.unlabeled else None
    return Batch(view_set(views.labeled, 1), unlabeled, nothing, nothing, nothing, nothing, nothing)


@pytest.fixture
def viewer() -> Viewer:
    torch.manual_seed(0)
    method = Viewer(MethodConfig())
    net = Network(ToyBackbone(), LinearHead(ToyBackbone.feature_size, 3)).train()
    method.attach(net, net, torch.Generator(), INFO)
    return method


def norm(viewer: Viewer) -> torch.nn.BatchNorm2d:
    found = viewer.net.backbone.norm
    assert isinstance(found, torch.nn.BatchNorm2d)
    return found


@pytest.mark.parametrize(("joint", "forwards"), [(True, 1), (False, 2)])
def test_views_without_gradient_are_predicted_apart_in_either_set(viewer: Viewer, joint: bool, forwards: int) -> None:
    given = batch(viewer.views)
    labeled, unlabeled = viewer.forward_views(given, joint=joint)
    outputs = {"weak": labeled.weak, "strong": unlabeled.strong}
    apart = {"plain": labeled.plain, "unlabeled weak": unlabeled.weak}
    assert all(output.logits.requires_grad for output in outputs.values())
    assert not any(output.logits.requires_grad for output in apart.values())
    assert int(norm(viewer).num_batches_tracked or 0) == forwards
    assert given.unlabeled is not None
    alone: Tensor = viewer.net(given.unlabeled.images["weak"]).logits
    torch.testing.assert_close(unlabeled.weak.logits, alone)
    torch.testing.assert_close(unlabeled.weak.probabilities, alone.softmax(-1))


def test_a_stage_gives_its_own_views(viewer: Viewer) -> None:
    own = Views(labeled={"other": weak()})
    with pytest.raises(ValueError, match=r"labeled view 'other' is not declared.*views="):
        viewer.forward_views(batch(own))
    labeled, unlabeled = viewer.forward_views(batch(own), views=own)
    assert labeled.other.logits.shape == (B, 3)
    with pytest.raises(AttributeError, match="no view 'weak' was forwarded"):
        _ = unlabeled.weak


def test_options_of_a_group_have_dotted_names() -> None:
    class Quirks(MethodConfig):
        late: bool = Field(False, description="a quirk")

    class Inner(MethodConfig):
        rate: float = Field(0.1, description="a rate")
        quirks: Quirks = Field(Quirks(), description="a group in a group")

    class Outer(MethodConfig):
        table: dict[str, float] = Field({}, description="an option, not a group")
        inner: Inner = Field(Inner(), description="a group")

    found = Outer.option_fields()
    assert list(found) == ["table", "inner.rate", "inner.quirks.late"]
    assert found["inner.quirks.late"].description == "a quirk"


class Mapped(ToyBackbone):
    """Gives its last feature map beside the pooled features."""

    def forward(self, images: Tensor) -> Features:  # type: ignore[override]
        last = torch.relu(self.conv(torch.relu(self.stem(images))))
        return Features(last.mean((2, 3)), {"last": last})


class MapHead(LinearHead):
    """Uses the map: the largest value of each channel."""

    uses_maps = True

    def forward(self, features: Tensor, maps: Mapping[str, Tensor]) -> Output:  # type: ignore[override]
        return Output(self.linear(maps["last"].amax((2, 3))), features)


@pytest.mark.parametrize("head", [LinearHead, MapHead])
def test_maps_of_a_backbone_reach_the_head_and_each_view(viewer: Viewer, head: type[LinearHead]) -> None:
    net = Network(Mapped(), head(12, 3)).train()
    viewer.attach(net, net, torch.Generator(), INFO)
    drawn = batch(viewer.views)
    labeled, unlabeled = viewer.forward_views(drawn)
    assert drawn.unlabeled is not None
    last = torch.relu(net.backbone.conv(torch.relu(net.backbone.stem(drawn.unlabeled.images["strong"]))))  # type: ignore[operator]
    torch.testing.assert_close(unlabeled.strong.maps["last"], last)
    assert labeled.weak.maps["last"].shape[0] == B
    pooled = last.amax((2, 3)) if head is MapHead else last.mean((2, 3))
    torch.testing.assert_close(unlabeled.strong.logits, net.head.linear(pooled))  # type: ignore[operator]


def test_a_forward_with_other_parameters_keeps_auxiliary_loss_and_gradient(viewer: Viewer) -> None:
    from ferbench.training.forward_log import ForwardLog

    class Aux(LinearHead):
        def forward(self, features: Tensor) -> Output:
            return Output(self.linear(features), features, aux_loss=self.linear.weight.square().sum())

    net = Network(ToyBackbone(), Aux(12, 3))
    viewer.attach(net, net, torch.Generator(), INFO)
    log = ForwardLog(net, Network(ToyBackbone(), Aux(12, 3)))
    doubled = (2 * net.head.linear.weight).detach().requires_grad_()  # type: ignore[operator, union-attr]
    viewer.forward_images(torch.randn(4, 3, 16, 16), parameters={"head.linear.weight": doubled})
    aux = log.aux_loss()
    assert aux is not None
    torch.testing.assert_close(aux, doubled.square().sum())
    aux.backward()
    torch.testing.assert_close(doubled.grad, 2 * doubled)
