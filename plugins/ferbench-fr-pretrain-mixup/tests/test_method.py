"""What sets the described and the released method apart, step by step on small tensors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ferbench.conformance.static_check import ToyBackbone, ToyTokens
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, MethodInfo, ViewSet
from ferbench.contract.head import LinearHead
from ferbench.contract.stage import StageContext
from ferbench.errors import UsageError
from ferbench_fr_pretrain_mixup.facemix import facemix_loss, iou, mix, mixed_cross_entropy
from ferbench_fr_pretrain_mixup.method import FRPretrainMixup

INFO = MethodInfo(("neutral", "happiness", "sadness"), (2, 2, 2), 6, 40, steps=40, steps_per_epoch=2, feature_size=12)


def attached(variant: str = "described", **options: Any) -> FRPretrainMixup:
    torch.manual_seed(0)
    method = FRPretrainMixup(FRPretrainMixup.Config.model_validate({**FRPretrainMixup.variants[variant], **options}))
    net, teacher = (Network(ToyTokens(), LinearHead(12, 3)) for _ in range(2))
    method.setup(net, INFO)
    method.attach(net, teacher, torch.Generator().manual_seed(1), INFO)
    return method


def view_set(names: tuple[str, ...], rows: int, seed: int) -> ViewSet:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(rows, 2, generator=generator) * 8
    boxes = torch.cat([corner, corner + 6], 1)
    images = {name: torch.randn(rows, 3, 16, 16, generator=generator) for name in names}
    return ViewSet(images, torch.arange(rows), dict.fromkeys(names, boxes))


def make_batch() -> Batch:
    labels, nothing = torch.arange(6) % 3, torch.zeros(())
    unlabeled = view_set(("weak", "strong"), 8, 2)
    return Batch(view_set(("weak",), 6, 1), unlabeled, labels, F.one_hot(labels).float(), nothing, nothing, nothing)


@pytest.mark.parametrize("variant", ["described", "released"])
def test_real_faces_are_real_unless_mixing_overwrites_them(variant: str) -> None:
    method, batch = attached(variant), make_batch()
    losses = method.facemix_loss(batch)
    share = torch.empty(()).uniform_(generator=torch.Generator().manual_seed(1))
    images, boxes = batch.labeled.images["weak"], batch.labeled.boxes["weak"]
    mixed_images = mix(images, share)
    mixed = mixed_cross_entropy(method.net(mixed_images).logits, batch.labels, share, 0.1)
    seen = images if variant == "described" else mixed_images
    real = F.cross_entropy(method.net(seen).logits, batch.labels, reduction="none")
    torch.testing.assert_close(losses.total, facemix_loss(mixed, real, iou(boxes, boxes.flip(0))))


def test_the_target_of_mixed_faces_is_mixed_and_smoothed() -> None:
    logits, labels, share = torch.randn(2, 4), torch.tensor([0, 3]), torch.tensor(0.75)
    target = torch.tensor([[0.75, 0, 0, 0.25], [0.25, 0, 0, 0.75]]) * 0.9 + 0.1 / 4
    expected = -(target * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(mixed_cross_entropy(logits, labels, share, 0.1), expected)


def test_faces_that_overlap_wholly_leave_the_mixed_loss_alone() -> None:
    mixed, real = torch.rand(4), torch.rand(4)
    torch.testing.assert_close(facemix_loss(mixed, real, torch.ones(4)), mixed.mean())
    assert iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


@pytest.mark.parametrize(("mixing", "terms"), [("none", {"real"}), ("mixup", {"mixed"})])
def test_ablations_of_the_mixing(mixing: str, terms: set[str]) -> None:
    assert attached(mixing=mixing).facemix_loss(make_batch()).terms.keys() == terms


def test_pseudo_labels_are_the_teachers_above_the_threshold() -> None:
    method, batch = attached(threshold=0.5), make_batch()
    assert batch.unlabeled is not None
    prediction = method.teacher(batch.unlabeled.images["weak"]).logits.softmax(-1)
    losses = method.loss(batch)
    assert losses.mask is not None and losses.pseudo_label is not None
    assert torch.equal(losses.pseudo_label, prediction.argmax(1))
    assert torch.equal(losses.mask, (prediction.max(1).values >= 0.5).float())
    terms = losses.terms
    torch.testing.assert_close(losses.total, terms["supervised"] + 5 * terms["unlabeled"])


def test_reconstruction_is_judged_where_patches_are_hidden() -> None:
    method, batch = attached(), make_batch()
    assert batch.unlabeled is not None
    seen: list[int] = []
    method.net.register_forward_hook(lambda net, inputs, output: seen.append(len(inputs[0])))
    losses = method.reconstruction_loss(batch)
    assert seen == [8]
    assert 0.9 < losses.terms["patch_mean"] < 1.1  # of pixels with variance 1
    rows = method.pictures(batch)
    assert list(rows) == ["masked", "reconstructed", "original"]
    shown = rows["masked"] != 0
    assert torch.equal(rows["masked"][shown], rows["original"][shown])
    assert shown.float().mean() == pytest.approx(0.25)


def test_a_backbone_without_patches_is_refused() -> None:
    with pytest.raises(UsageError, match="ToyBackbone has no patches"):
        FRPretrainMixup(FRPretrainMixup.Config()).setup(Network(ToyBackbone(), LinearHead(12, 3)), INFO)


def test_the_stages_of_both_variants() -> None:
    described, released = (attached(variant).stages() for variant in ("described", "released"))
    assert [stage.name for stage in described] == ["reconstruct", "facemix", "pseudo-label"]
    assert [stage.data for stage in described] == ["all", "labeled", "labeled+unlabeled"]
    assert [stage.data for stage in released] == ["all", "labeled", "relabeled"]
    assert described[2].optimizer is not None and described[2].optimizer.schedule is None
    assert released[2].optimizer is not None and released[2].optimizer.schedule == "constant"
    assert len(attached(pretraining=0.0).stages()) == 2


def test_released_evaluates_the_average_of_facemix() -> None:
    for variant in ("described", "released"):
        method = attached(variant)
        stages = {stage.name: stage for stage in method.stages()}
        context: StageContext = None  # type: ignore[assignment]  # which it does not use
        method.start_stage(stages["facemix"], context)
        assert method.evaluation_net() is method.teacher
        method.start_stage(stages["pseudo-label"], context)
        before = method.evaluation_net().head.linear.weight.clone()  # type: ignore[operator, union-attr]
        with torch.no_grad():
            method.teacher.head.linear.weight.add_(1)  # type: ignore[operator, union-attr]
        stays = torch.equal(method.evaluation_net().head.linear.weight, before)  # type: ignore[arg-type, union-attr]
        assert stays == (variant == "released")
