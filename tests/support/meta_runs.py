"""Runs of registered methods on meta tensors, which have shapes and no values: what a GPU would be asked to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.optim.optimizer as torch_optimizer
from torch import Tensor

from ferbench.builtin.protocols import RATIO_V1
from ferbench.cells.resolve import view_kinds
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, MethodInfo, ViewSet
from ferbench.contract.method import Builders, Method
from ferbench.contract.protocol import Recipe
from ferbench.data.load.image_set import LabeledImages
from ferbench.data.load.views import ViewMaker
from ferbench.discovery.registry import Registry
from ferbench.execution.build import build_backbone
from ferbench.training.loop import Training
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.steps import Steps
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher
from tests.support.stepping import Stepper

META = torch.device("meta")
NAMES = tuple("abcdefg")
LABELED, UNLABELED = 400, 4000


WITHOUT_SHAPES = ("_fused_sgd_", "_fused_sgd_.tensor_lr", "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr")
"""Fused kernels that torch does not know on meta tensors: they write in place, so there is nothing to know."""


@contextmanager
def fused_on_meta() -> Iterator[None]:
    """Within it torch's optimizers take their fused path on meta tensors, as on a GPU."""
    devices = torch_optimizer._get_fused_kernels_supported_devices
    with pytest.MonkeyPatch.context() as patch, torch.library._scoped_library("aten", "IMPL") as kernels:
        patch.setattr(torch_optimizer, "_get_fused_kernels_supported_devices", lambda: [*devices(), "meta"])
        for name in WITHOUT_SHAPES:
            kernels.impl(name, lambda *inputs, **more: None, "Meta")
        yield


def meta_run(
    registry: Registry,
    method: Method,
    folder: Path,
    *,
    backbone: str = "timm/resnet18",
    image_size: int = 112,
    labeled_batch: int = 16,
    unlabeled_batch: int = 24,
) -> Training:
    """A run of a method on 400 labeled and 4,000 unlabeled images that have no pixels; a ViT where it masks patches."""
    backbone = "small-vit" if "tokens" in method.requires else backbone
    recipe = RATIO_V1.recipes["synthfaces"].model_copy(
        update={
            "image_size": image_size,
            "backbone": backbone,
            "labeled_batch": labeled_batch,
            "unlabeled_batch": unlabeled_batch,
        }
    )

    def network() -> Network:
        body = build_backbone(registry, backbone, image_size, None)
        return Network(body, method.make_head(body.feature_size, len(NAMES))).to(memory_format=torch.channels_last)

    with META:
        net = network()
        size = net.backbone.feature_size
        info = MethodInfo(NAMES, (57,) * 7, LABELED, UNLABELED, recipe.steps, recipe.steps // 20, size)
        builders = Builders(network, lambda: build_backbone(registry, backbone, image_size, None), lambda name: 0)
        method.prepare(builders)
        method.setup(net, info)
    for module in (method, net):
        module.to(META)
    teacher = Teacher(net, recipe.ema_decay, ramp=recipe.ema_ramp)
    method.attach(net, teacher.net, torch.Generator(), info)
    kinds = {kind: registry.load("views", kind) for kind in view_kinds(method)}
    maker = ViewMaker(recipe, net.backbone.mean, net.backbone.std, META, kinds)
    run = Run(method, teacher, recipe, _task(recipe, maker, method), info, seed=0)
    return Training(run, folder / "checkpoint.safetensors", folder, StageCache(folder, {}))


def _task(recipe: Recipe, maker: ViewMaker, method: Method) -> Task:
    def pool(count: int) -> LabeledImages:
        pixels = torch.empty(count, recipe.image_size, recipe.image_size, 3, dtype=torch.uint8, device=META)
        labels = torch.empty(count, dtype=torch.int64, device=META)
        probs = torch.empty(count, len(NAMES), device=META)
        return LabeledImages(pixels, torch.empty(count, 4, device=META), labels=labels, label_probs=probs)

    labeled, unlabeled = pool(LABELED), pool(UNLABELED)
    return Task(
        labeled=labeled,
        unlabeled=unlabeled if method.uses_unlabeled else None,
        everything=(lambda: unlabeled) if method.uses_unlabeled else None,
        relabeled=(labeled, unlabeled) if method.uses_unlabeled else None,
        validation=pool(50) if "validation" in method.requires else None,
        maker=maker,
        class_names=NAMES,
        device=META,
    )


def meta_stepper(training: Training, stage: int, kind: type[Steps] = Steps) -> Stepper:
    """A stage of such a run, begun. Weights to draw by are read before its steps, and meta tensors have no values."""
    planned = training.stages[stage]
    training.stages[stage] = replace(planned, stage=replace(planned.stage, unlabeled_weights=None))
    stepper = Stepper(training, stage, kind)
    training.run.method.train()
    return stepper


def given_views(stepper: Stepper) -> Batch:
    """A batch of a stage as its views give it, made without them."""
    recipe, views = stepper.run.recipe, stepper.planned.stage.views
    draws_unlabeled = stepper.run.task.images_of(stepper.planned.stage)[1] is not None

    def view_set(names: list[str], count: int) -> ViewSet:
        shape = (count, 3, recipe.image_size, recipe.image_size)
        images = {n: torch.empty(shape, device=META).to(memory_format=torch.channels_last) for n in names}
        index = torch.empty(count, dtype=torch.int64, device=META)
        return ViewSet(images, index, {name: torch.empty(count, 4, device=META) for name in names})

    def scalar() -> Tensor:
        return torch.empty((), device=META)

    count = recipe.labeled_batch if views.labeled else 0
    return Batch(
        labeled=view_set(list(views.labeled), count),
        unlabeled=view_set(list(views.unlabeled), recipe.unlabeled_batch)
        if views.unlabeled and draws_unlabeled
        else None,
        labels=torch.empty(count, dtype=torch.int64, device=META),
        label_probs=torch.empty(count, len(NAMES), device=META),
        step=torch.empty((), dtype=torch.int64, device=META),
        progress=scalar(),
        learning_rate=scalar(),
    )
