"""Builds a cell as tensors and modules: its images, its network, its method."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferbench.cells.blueprint import Blueprint
from ferbench.cells.resolve import ResolvedCell, view_kinds
from ferbench.contract.backbone import Backbone, BackboneRequest, Network, token_backbone
from ferbench.contract.batch import MethodInfo
from ferbench.contract.head import Head
from ferbench.contract.method import Builders, Method, Processes
from ferbench.data.load.image_set import ImageSet, LabeledImages
from ferbench.data.load.image_store import open_packed_images
from ferbench.data.load.memory import check_memory
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker
from ferbench.data.prepare.stream_index import StreamIndex
from ferbench.data.seeds import derive
from ferbench.discovery.registry import Registry
from ferbench.errors import PluginError
from ferbench.execution.handover import CellFacts, ImageRows
from ferbench.readers.streams import StreamedDataset
from ferbench.training.memory_format import lay_out
from ferbench.training.model_file import load_tensors
from ferbench.training.stages import PRETRAINING_SEED, steps_per_epoch
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher


def build_network(resolved: Blueprint, init: Path | str | None, device: torch.device) -> Network:
    """Backbone and head from the cell's seed. The random weights of the backbone do not depend on the method.

    Before a pre-training stage they do not depend on the seed either.
    """
    method = resolved.declared
    pretrained = any(stage.pretraining for stage in method.stages())
    torch.manual_seed(derive(PRETRAINING_SEED if pretrained else resolved.cell.seed, "init"))
    backbone = build_backbone(resolved.registry, resolved.cell.backbone, resolved.recipe.image_size, init)
    if "tokens" in method.requires:
        token_backbone(backbone, resolved.cell.backbone)
    if pretrained:  # all seeds share this backbone; the head is the cell's own
        torch.manual_seed(derive(resolved.cell.seed, "init"))
    n_classes = len(resolved.class_names)
    head = build_head(
        resolved.registry, resolved.cell.head, method, backbone.feature_size, n_classes, resolved.head_options
    )
    return lay_out(Network(backbone, head), device, resolved.recipe.image_size)


def build_task(resolved: ResolvedCell, folder: Path, net: Network, device: torch.device) -> Task:
    """Load the images of the rows in a folder to the device. Supervised cells get no unlabeled images."""

    def labeled(name: str) -> LabeledImages:
        rows = ImageRows.read(folder / f"{name}.npz")
        found = image_set_of(rows, device)
        labels, probs = (torch.from_numpy(array).to(device) for array in (rows.labels, rows.label_probs))
        return LabeledImages(found.images, found.boxes, labels=labels, label_probs=probs)

    def unlabeled(name: str) -> ImageSet | Stream:
        rows = ImageRows.read(folder / f"{name}.npz")
        found, numbers = image_set_of(rows, device), torch.from_numpy(rows.numbers).to(device, torch.int64)
        if rows.index is None or not isinstance(resolved.pool, StreamedDataset):
            return replace(found, numbers=numbers)
        index = StreamIndex(resolved.pool, Path(str(rows.index)))
        return Stream(index, rows.row[rows.store < 0], device, found if len(found) else None, numbers)

    uses_unlabeled = resolved.declared.uses_unlabeled
    return Task(
        labeled=labeled("labeled"),
        validation=labeled("validation") if resolved.protocol.validation else None,
        unlabeled=unlabeled("unlabeled") if uses_unlabeled else None,
        everything=partial(unlabeled, "everything") if uses_unlabeled and resolved.facts.everything else None,
        relabeled=(labeled("relabeled-labeled"), unlabeled("relabeled")) if resolved.facts.relabeled else None,
        maker=view_maker(resolved, net, device),
        class_names=resolved.class_names,
        device=device,
    )


def view_maker(resolved: Blueprint, net: Network, device: torch.device) -> ViewMaker:
    """Return the views of the cell's images, including those of plugins."""
    kinds = {name: resolved.registry.load("views", name) for name in view_kinds(resolved.declared)}
    return ViewMaker(resolved.recipe, net.backbone.mean, net.backbone.std, device, kinds)


def image_set_of(rows: ImageRows, device: torch.device) -> ImageSet:
    """The images of rows in packed folders, on the device. Images of a stream are not read.

    Raises DataError, with figures, if they do not fit into memory.
    """
    stores = [open_packed_images(Path(str(path))) for path in rows.stores]
    n = int((rows.store >= 0).sum())
    shape = (n, *stores[0].shape[1:]) if stores else (0, 1, 1, 3)
    check_memory(shape, device)
    images = np.empty(shape, np.uint8)
    for number, store in enumerate(stores):
        mine = rows.store[:n] == number
        images[mine] = store[rows.row[:n][mine]]
    return ImageSet(torch.from_numpy(images).to(device), torch.from_numpy(rows.boxes).to(device))


def method_info(resolved: Blueprint, net: Network, facts: CellFacts) -> MethodInfo:
    """Return the context of a cell that its method gets."""
    return MethodInfo(
        class_names=resolved.class_names,
        class_counts=tuple(facts.labeled_counts[name] for name in resolved.class_names),
        n_labeled=facts.n_labeled,
        n_unlabeled=facts.n_unlabeled,
        steps=resolved.recipe.steps,
        steps_per_epoch=steps_per_epoch(resolved.recipe.steps),
        feature_size=net.backbone.feature_size,
        n_validation=facts.n_validation,
    )


def build_method(
    resolved: Blueprint,
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
    for module in (method, net):  # modules that `setup` added
        module.to(device)
    teacher = Teacher(net, recipe.ema_decay, ramp=recipe.ema_ramp)
    random = torch.Generator(device).manual_seed(derive(seed, "method"))
    method.attach(net, teacher.net, random, info, joint_forward=recipe.joint_forward, processes=processes)
    return method, teacher


def trained_net(resolved: Blueprint, facts: CellFacts, init: Path | str | None, device: torch.device) -> Network:
    """The evaluated net of a trained cell, with the tensors of the file that the facts name.

    The code on this machine builds the net; only names, shapes and numbers are read from the file. Raises DataError if
    the file is missing or belongs to another net.
    """
    assert facts.model is not None
    evaluated = untrained_net(resolved, facts, init, device)
    load_tensors(evaluated, Path(facts.model), facts.model_digest)
    return evaluated


def untrained_net(resolved: Blueprint, facts: CellFacts, init: Path | str | None, device: torch.device) -> Network:
    """Return the net that the cell's method evaluates, in its state before training."""
    net = build_network(resolved, init, device)
    method, _ = build_method(resolved, net, method_info(resolved, net, facts), init, device)
    return method.evaluation_net()


def _builders(resolved: Blueprint, init: Path | str | None, device: torch.device) -> Builders:
    """Functions that make further networks like the cell's net, each with a seed derived from its name."""
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
    """Build the backbone with the name `family` or `family/variant`."""
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
    """The head with this registered name and these options, or the method's own head."""
    if name is None:
        head: object = method.make_head(feature_size, n_classes)
    else:
        head = registry.get("heads", name).load()(feature_size, n_classes, **(options or {}))
    if not isinstance(head, Head):
        what = f"head '{name}'" if name else f"{type(method).__name__}.make_head"
        raise PluginError(f"{what}: {type(head).__name__} does not subclass ferbench.contract.head.Head")
    return head
