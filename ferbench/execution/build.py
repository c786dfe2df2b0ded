"""A resolved cell as tensors and modules: its images, its network, its method."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ferbench.cells.request import no_pool_text
from ferbench.cells.resolve import ResolvedCell, view_kinds
from ferbench.cells.select import CellData
from ferbench.contract.backbone import Backbone, BackboneRequest, Network, token_backbone
from ferbench.contract.batch import MethodInfo
from ferbench.contract.head import Head
from ferbench.contract.method import Builders, Method, Processes
from ferbench.data.load.image_set import ImageSet, image_set
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker
from ferbench.data.prepare.stream_index import StreamIndex
from ferbench.data.seeds import derive
from ferbench.data.select.splits import Selection
from ferbench.discovery.registry import Registry
from ferbench.errors import PluginError, UsageError
from ferbench.training.memory_format import lay_out
from ferbench.training.stages import PRETRAINING_SEED, steps_per_epoch
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher


def build_network(resolved: ResolvedCell, init: Path | str | None, device: torch.device) -> Network:
    """Backbone and head from the cell's seed; the backbone's random weights do not depend on the method.

    Before a pre-training stage they do not depend on the seed either.
    """
    method = resolved.declared
    pretrained = any(stage.pretraining for stage in method.stages())
    torch.manual_seed(derive(PRETRAINING_SEED if pretrained else resolved.cell.seed, "init"))
    backbone = build_backbone(resolved.registry, resolved.cell.backbone, resolved.recipe.image_size, init)
    if "tokens" in method.requires:
        token_backbone(backbone, resolved.cell.backbone)
    if pretrained:  # the backbone is that of all seeds, the head the cell's own
        torch.manual_seed(derive(resolved.cell.seed, "init"))
    n_classes = len(resolved.class_names)
    head = build_head(
        resolved.registry, resolved.cell.head, method, backbone.feature_size, n_classes, resolved.head_options
    )
    return lay_out(Network(backbone, head), device, resolved.recipe.image_size)


def build_task(resolved: ResolvedCell, data: CellData, net: Network, device: torch.device) -> Task:
    """The cell's images on the device. Supervised cells get no unlabeled ones."""
    names, images, second = resolved.class_names, data.images, data.relabeled

    def unlabeled(selection: Selection) -> ImageSet | Stream:
        found = _unlabeled(data, selection, names, device)
        if not len(found) and data.pool:
            near = data.pool.near_duplicates
            raise UsageError(f"pool '{resolved.cell.pool_name}' has no image left: all {near} look like test images")
        if not len(found):
            raise UsageError(no_pool_text(resolved.cell, resolved.protocol))
        return found

    return Task(
        labeled=image_set(images, data.selection.labeled, names, device),
        unlabeled=unlabeled(data.selection) if resolved.declared.uses_unlabeled else None,
        keeps_rest=data.keeps_rest,
        relabeled=(image_set(images, second.labeled, names, device), unlabeled(second)) if second else None,
        test=image_set(images, data.selection.test, names, device),
        maker=view_maker(resolved, net, device),
        class_names=names,
        device=device,
    )


def view_maker(resolved: ResolvedCell, net: Network, device: torch.device) -> ViewMaker:
    """What makes the views of the cell's images, those of plugins included."""
    kinds = {name: resolved.registry.load("views", name) for name in view_kinds(resolved.declared)}
    return ViewMaker(resolved.recipe, net.backbone.mean, net.backbone.std, device, kinds)


def _unlabeled(data: CellData, selection: Selection, names: tuple[str, ...], device: torch.device) -> ImageSet | Stream:
    """The rest of the training set, the named pool, or both."""
    if data.pool is None:
        return image_set(data.images, selection.unlabeled, names, device)
    source, rows = data.pool.source, data.pool.rows
    pool: ImageSet | Stream
    if isinstance(source, StreamIndex):
        pool = Stream(source, rows, device)
    else:
        pool = image_set(source, rows.tolist(), names, device)
    return pool.after(image_set(data.images, selection.unlabeled, names, device)) if data.keeps_rest else pool


def method_info(
    resolved: ResolvedCell, net: Network, n_labeled: int, n_unlabeled: int | None, labeled_counts: Mapping[str, int]
) -> MethodInfo:
    """What a method is told of its cell."""
    return MethodInfo(
        class_names=resolved.class_names,
        class_counts=tuple(labeled_counts[name] for name in resolved.class_names),
        n_labeled=n_labeled,
        n_unlabeled=n_unlabeled,
        steps=resolved.recipe.steps,
        steps_per_epoch=steps_per_epoch(resolved.recipe.steps),
        feature_size=net.backbone.feature_size,
    )


def build_method(
    resolved: ResolvedCell,
    net: Network,
    info: MethodInfo,
    init: Path | str | None,
    device: torch.device,
    processes: Processes | None = None,
) -> tuple[Method, Teacher[Network]]:
    """The method with its net and teacher attached, ready for the optimizer."""
    recipe, seed = resolved.recipe, resolved.cell.seed
    method = resolved.method_class(resolved.config)
    method.prepare(_builders(resolved, init, device))
    method.setup(net, info)
    for module in (method, net):  # what setup has added
        module.to(device)
    teacher = Teacher(net, recipe.ema_decay)
    random = torch.Generator(device).manual_seed(derive(seed, "method"))
    method.attach(net, teacher.net, random, info, joint_forward=recipe.joint_forward, processes=processes)
    return method, teacher


def _builders(resolved: ResolvedCell, init: Path | str | None, device: torch.device) -> Builders:
    """What makes further networks of the kind of the cell's net, each from a seed of its name."""
    size, names = resolved.recipe.image_size, resolved.class_names

    def backbone() -> Backbone:
        return build_backbone(resolved.registry, resolved.cell.backbone, size, init)

    def network() -> Network:
        body, head = backbone(), resolved.cell.head
        options = resolved.head_options
        made = build_head(resolved.registry, head, resolved.declared, body.feature_size, len(names), options)
        return lay_out(Network(body, made), device, size)

    def seed(name: str) -> int:
        return derive(resolved.cell.seed, "network", name)

    return Builders(network, lambda: backbone().to(device), seed)


def build_backbone(registry: Registry, name: str, image_size: int, init: Path | str | None) -> Backbone:
    """The backbone of a name `family` or `family/variant`."""
    family, _, variant = name.partition("/")
    builder = registry.get("backbones", family).load()
    backbone = builder(BackboneRequest(variant=variant, image_size=image_size, init=init))
    if not isinstance(backbone, Backbone) or not hasattr(backbone, "feature_size"):
        raise PluginError(f"backbone '{name}': the builder gave {type(backbone).__name__} without a feature_size")
    return backbone


def build_head(
    registry: Registry,
    name: str | None,
    method: Method,
    feature_size: int,
    n_classes: int,
    options: Mapping[str, Any] | None = None,
) -> Head:
    """The head of a registered name with options of its own, or the method's."""
    if name is None:
        head: object = method.make_head(feature_size, n_classes)
    else:
        head = registry.get("heads", name).load()(feature_size, n_classes, **(options or {}))
    if not isinstance(head, Head):
        what = f"head '{name}'" if name else f"{type(method).__name__}.make_head"
        raise PluginError(f"{what}: {type(head).__name__} does not subclass ferbench.contract.head.Head")
    return head
