"""Runs of registered methods as the standard recipe of SynthFaces has them, on images of noise: for timings."""

from pathlib import Path

import torch

from ferbench.builtin.protocols import RATIO_V1
from ferbench.cells.resolve import view_kinds
from ferbench.contract.backbone import Backbone, Network
from ferbench.contract.batch import MethodInfo
from ferbench.contract.method import Builders, Method
from ferbench.contract.protocol import Recipe
from ferbench.data.load.views import ViewMaker
from ferbench.discovery.registry import Registry
from ferbench.execution.build import build_backbone
from ferbench.training.loop import Training
from ferbench.training.memory_format import lay_out
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher
from tests.support.random_pool import random_pool

RECIPE = RATIO_V1.recipes["synthfaces"]
NAMES = tuple("abcdefg")
CPU = torch.device("cpu")
LABELED, UNLABELED = 400, 4000


def default_method(registry: Registry, name: str) -> Method:
    """A method as it is by default."""
    method_class: type[Method] = registry.load("methods", name)
    return method_class(method_class.Config.model_validate(next(iter(method_class.variants.values()))))


def standard_run(
    registry: Registry,
    name: str,
    folder: Path,
    *,
    recipe: Recipe = RECIPE,
    device: torch.device = CPU,
    precision: str = "fp32",
    pools: tuple[int, int] = (LABELED, UNLABELED),
) -> Training:
    """A run of a method as it is by default, with 400 labeled and 4,000 unlabeled images unless `pools` says."""
    torch.manual_seed(0)
    method = default_method(registry, name)

    def backbone() -> Backbone:
        return build_backbone(registry, recipe.backbone, recipe.image_size, None)

    def network() -> Network:
        body = backbone()
        return lay_out(Network(body, method.make_head(body.feature_size, len(NAMES))), device, recipe.image_size)

    net = network()
    info = MethodInfo(NAMES, (57,) * 7, *pools, recipe.steps, recipe.steps // 20, net.backbone.feature_size)
    method.prepare(Builders(network, lambda: backbone().to(device), lambda name: len(name)))
    method.setup(net, info)
    for module in (method, net):
        module.to(device)
    teacher = Teacher(net, recipe.ema_decay, ramp=recipe.ema_ramp)
    method.attach(net, teacher.net, torch.Generator(device).manual_seed(1), info)
    kinds = {kind: registry.load("views", kind) for kind in view_kinds(method)}
    labeled, unlabeled = (random_pool(count, recipe.image_size, device) for count in pools)
    task = Task(
        labeled=labeled,
        unlabeled=unlabeled if method.uses_unlabeled else None,
        everything=(lambda: unlabeled) if method.uses_unlabeled else None,
        relabeled=(labeled, unlabeled) if method.uses_unlabeled else None,
        maker=ViewMaker(recipe, net.backbone.mean, net.backbone.std, device, kinds),
        class_names=NAMES,
        device=device,
    )
    run = Run(method, teacher, recipe, task, info, seed=0, precision=precision)
    return Training(run, folder / "checkpoint.safetensors", folder, StageCache(folder, {}))
