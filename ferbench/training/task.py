"""A resolved cell as tensors and modules: its pools, its network, its method."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ferbench.contract.backbone import Network, token_backbone
from ferbench.contract.batch import MethodInfo
from ferbench.contract.dataset import Dataset
from ferbench.contract.method import Method, Processes
from ferbench.data.batches import ViewMaker
from ferbench.data.cross import CrossTest, open_cross_test
from ferbench.data.external import External, open_external
from ferbench.data.pack import ensure_packed
from ferbench.data.packed import Packed, Pool
from ferbench.data.seeds import derive
from ferbench.data.sources import shared_classes
from ferbench.data.splits import SplitPlan, fold_of, make_split
from ferbench.data.stream import Stream
from ferbench.data.stream_index import StreamIndex
from ferbench.errors import UsageError
from ferbench.records.cell import digest
from ferbench.training.engine import PRETRAINING_SEED, Task
from ferbench.training.layout import lay_out
from ferbench.training.resolution import Resolved, build_backbone, build_head
from ferbench.training.stages import steps_per_epoch
from ferbench.training.teacher import Teacher


@dataclass(frozen=True)
class Split:
    """The split of a cell over its packed data, and the pool where one is named.

    `keeps_rest` says whether the rest of the training set is unlabeled data. `relabeled` is the second draw of a method
    that has a stage with such data.
    """

    plan: SplitPlan
    packed: Packed
    pool: External | None
    fingerprints: dict[str, str]
    keeps_rest: bool
    relabeled: SplitPlan | None = None

    @cached_property
    def images(self) -> str:
        """A digest of the images of stages that draw `"all"`, whatever part of them is labeled."""
        own = self.packed.content(self.plan.labeled + self.plan.unlabeled) if self.keeps_rest else []
        return digest([sorted(own), [self.pool.source.fingerprint, self.pool.drawn] if self.pool else []])


def split_of(resolved: Resolved) -> Split:
    """Pack what is not packed yet and choose the labels."""
    size, protocol, cell = resolved.recipe.image_size, resolved.protocol, resolved.cell
    packed, fold = Packed(ensure_packed(resolved.dataset, size)), fold_of(protocol, cell.seed)

    def drawn(seed: int) -> SplitPlan:
        names, rule, groups = resolved.class_names, protocol.split_rule, protocol.rank_groups
        return make_split(packed, names, cell.budget, seed, rule=rule, groups=groups, fold=fold)

    plan = drawn(cell.seed)
    relabeled = drawn(derive(cell.seed, "relabeled")) if resolved.relabels else None
    pool = open_external(resolved.pool, packed, fold) if resolved.pool else None
    fingerprints = pool.fingerprints(plan, keeps_rest=cell.keeps_rest) if pool else plan.fingerprints
    fingerprints = {**fingerprints, "split_rule": protocol.split_rule}
    if resolved.wants_boxes and packed.box_sources(plan.labeled)["detected"]:
        fingerprints["boxes"] = packed.detected_boxes
    if relabeled:
        fingerprints["relabeled"] = relabeled.fingerprints["labeled"]
    return Split(plan, packed, pool, fingerprints, cell.keeps_rest, relabeled)


def cross_test_of(resolved: Resolved, other: Dataset) -> CrossTest:
    """Pack what is not packed yet and choose the test images of another set."""
    packed = Packed(ensure_packed(resolved.dataset, resolved.recipe.image_size))
    fold = fold_of(resolved.protocol, resolved.cell.seed)
    pool = open_external(resolved.pool, packed, fold) if resolved.pool else None
    shared = shared_classes(resolved.dataset, resolved.class_names, other)
    return open_cross_test(other, shared, packed, fold=fold, pool=pool)


def build_network(resolved: Resolved, init: Path | str | None, device: torch.device) -> Network:
    """Backbone and head from the cell's seed; the backbone's random weights do not depend on the method.

    Before a pre-training stage they do not depend on the seed either.
    """
    method = resolved.declared
    pretrained = any(stage.pretraining for stage in method.stages())
    torch.manual_seed(derive(PRETRAINING_SEED if pretrained else resolved.cell.seed, "init"))
    backbone = build_backbone(resolved.cell.backbone, resolved.recipe.image_size, init)
    if "tokens" in method.requires:
        token_backbone(backbone, resolved.cell.backbone)
    if pretrained:  # the backbone is that of all seeds, the head the cell's own
        torch.manual_seed(derive(resolved.cell.seed, "init"))
    n_classes = len(resolved.class_names)
    head = build_head(resolved.cell.head, method, backbone.feature_size, n_classes, resolved.head_options)
    return lay_out(Network(backbone, head), device, resolved.recipe.image_size)


def build_task(resolved: Resolved, split: Split, net: Network, device: torch.device) -> Task:
    """The cell's pools on the device. Supervised cells get no unlabeled pool."""
    names, packed = resolved.class_names, split.packed

    def unlabeled(plan: SplitPlan) -> Pool | Stream:
        pool = _unlabeled(split, plan, names, device)
        if not len(pool) and split.pool:
            near = split.pool.near_duplicates
            raise UsageError(f"pool '{resolved.cell.pool_name}' has no image left: all {near} look like test images")
        if not len(pool):
            raise UsageError(no_pool_text(resolved))
        return pool

    second = split.relabeled
    return Task(
        labeled=packed.pool(split.plan.labeled, names, device),
        unlabeled=unlabeled(split.plan) if resolved.declared.uses_unlabeled else None,
        keeps_rest=split.keeps_rest,
        relabeled=(packed.pool(second.labeled, names, device), unlabeled(second)) if second else None,
        test=packed.pool(split.plan.test, names, device),
        maker=ViewMaker(resolved.recipe, net.backbone.mean, net.backbone.std, device),
        class_names=names,
        device=device,
    )


def _unlabeled(split: Split, plan: SplitPlan, names: tuple[str, ...], device: torch.device) -> Pool | Stream:
    """The rest of the training set, the named pool, or both."""
    if split.pool is None:
        return split.packed.pool(plan.unlabeled, names, device)
    source, rows = split.pool.source, split.pool.rows
    pool = (
        Stream(source, rows, device) if isinstance(source, StreamIndex) else source.pool(rows.tolist(), names, device)
    )
    return pool.after(split.packed.pool(plan.unlabeled, names, device)) if split.keeps_rest else pool


def no_pool_text(resolved: Resolved) -> str:
    """Why a semi-supervised cell without unlabeled images is refused."""
    cell = resolved.cell
    if resolved.protocol.needs_pool:
        return (
            f"protocol '{cell.protocol}' takes the unlabeled images of method '{cell.method}' from another set; name "
            "it with --unlabeled (such as synthfaces-fr), or choose --protocol ratio-v1"
        )
    return (
        f"method '{cell.method}' learns from unlabeled images, and with {cell.budget.title()} '{cell.dataset}' "
        "has none left; name a pool with --unlabeled (such as synthfaces-fr) or fewer labels"
    )


def method_info(
    resolved: Resolved, net: Network, n_labeled: int, n_unlabeled: int | None, labeled_counts: Mapping[str, int]
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
    resolved: Resolved, net: Network, info: MethodInfo, device: torch.device, processes: Processes | None = None
) -> tuple[Method, Teacher]:
    """The method with its net and teacher attached, ready for the optimizer."""
    recipe, seed = resolved.recipe, resolved.cell.seed
    method = resolved.method_class(resolved.config)
    method.setup(net, info)
    for module in (method, net):  # what setup has added
        module.to(device)
    teacher = Teacher(net, recipe.ema_decay)
    random = torch.Generator(device).manual_seed(derive(seed, "method"))
    method.attach(net, teacher.net, random, info, joint_forward=recipe.joint_forward, processes=processes)
    return method, teacher
