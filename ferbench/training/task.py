"""A resolved cell as tensors and modules: its pools, its network, its method."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ferbench.contract.backbone import Network, token_backbone
from ferbench.contract.batch import MethodInfo
from ferbench.contract.method import Method
from ferbench.data.batches import ViewMaker
from ferbench.data.pack import ensure_packed
from ferbench.data.packed import Packed, Pool
from ferbench.data.seeds import derive
from ferbench.data.splits import SplitPlan, make_split, pool_rows
from ferbench.errors import UsageError
from ferbench.records.cell import digest
from ferbench.training.engine import PRETRAINING_SEED, Task
from ferbench.training.layout import lay_out
from ferbench.training.resolution import Resolved, build_backbone, build_head
from ferbench.training.stages import steps_per_epoch
from ferbench.training.teacher import Teacher


@dataclass(frozen=True)
class Split:
    """The split of a cell over its packed data, with the pool's part where one is named.

    `relabeled` is the second draw of a method that has a stage with such data.
    """

    plan: SplitPlan
    packed: Packed
    pool: Packed | None
    fingerprints: dict[str, str]
    relabeled: SplitPlan | None = None

    @property
    def images(self) -> str:
        """A digest of all images that a method may learn from, whatever part of them is labeled."""
        own = self.packed.content(self.plan.labeled + self.plan.unlabeled)
        return digest(sorted(own if self.pool is None else own + self.pool.content(pool_rows(self.pool)[0])))


def split_of(resolved: Resolved) -> Split:
    """Pack what is not packed yet and choose the labels."""
    size, protocol, cell = resolved.recipe.image_size, resolved.protocol, resolved.cell
    packed = Packed(ensure_packed(resolved.dataset, size))

    def drawn(seed: int) -> SplitPlan:
        names, rule, groups = resolved.class_names, protocol.split_rule, protocol.rank_groups
        return make_split(packed, names, cell.budget, seed, rule=rule, groups=groups)

    plan, relabeled = drawn(cell.seed), None
    fingerprints = {**plan.fingerprints, "split_rule": protocol.split_rule}
    if resolved.relabels:
        relabeled = drawn(derive(cell.seed, "relabeled"))
        fingerprints["relabeled"] = relabeled.fingerprints["labeled"]
    if resolved.pool is None:
        return Split(plan, packed, None, fingerprints, relabeled)
    pool = Packed(ensure_packed(resolved.pool, size))
    fingerprints |= {"unlabeled": pool_rows(pool)[1], "pool": pool.fingerprint}
    return Split(plan, packed, pool, fingerprints, relabeled)


def build_network(resolved: Resolved, init: Path | str | None, device: torch.device) -> Network:
    """Backbone and head from the cell's seed; the backbone's random weights do not depend on the method.

    Before a pre-training stage they do not depend on the seed either.
    """
    method = resolved.method_class(resolved.config)
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
    names = resolved.class_names
    method = resolved.method_class(resolved.config)

    def labeled(plan: SplitPlan) -> Pool:
        return split.packed.pool(plan.labeled, names, device)

    def unlabeled(plan: SplitPlan) -> Pool:
        if split.pool is not None:
            return split.pool.pool(pool_rows(split.pool)[0], names, device)
        if not plan.unlabeled:
            raise UsageError(no_pool_text(resolved))
        return split.packed.pool(plan.unlabeled, names, device)

    second = split.relabeled
    return Task(
        labeled=labeled(split.plan),
        unlabeled=unlabeled(split.plan) if method.uses_unlabeled else None,
        relabeled=(labeled(second), unlabeled(second)) if second else None,
        test=split.packed.pool(split.plan.test, names, device),
        maker=ViewMaker(resolved.recipe, net.backbone.mean, net.backbone.std, device),
        class_names=names,
        device=device,
    )


def no_pool_text(resolved: Resolved) -> str:
    """Why a semi-supervised cell at 100 % is refused."""
    cell = resolved.cell
    return (
        f"method '{cell.method}' learns from unlabeled images, and with {cell.budget.title()} '{cell.dataset}' "
        "has none left; name a pool with --unlabeled (such as synthfaces-fr) or fewer labels"
    )


def build_method(resolved: Resolved, net: Network, task: Task, plan: SplitPlan) -> tuple[Method, Teacher, MethodInfo]:
    """The method with its net and teacher attached, ready for the optimizer."""
    recipe, seed = resolved.recipe, resolved.cell.seed
    info = MethodInfo(
        class_names=task.class_names,
        class_counts=tuple(plan.labeled_counts[name] for name in task.class_names),
        n_labeled=len(task.labeled),
        n_unlabeled=None if task.unlabeled is None else len(task.unlabeled),
        steps=recipe.steps,
        steps_per_epoch=steps_per_epoch(recipe.steps),
        feature_size=net.backbone.feature_size,
    )
    method = resolved.method_class(resolved.config)
    method.setup(net, info)
    for module in (method, net):  # what setup has added
        module.to(task.device)
    teacher = Teacher(net, recipe.ema_decay)
    random = torch.Generator(task.device).manual_seed(derive(seed, "method"))
    method.attach(net, teacher.net, random, info, joint_forward=recipe.joint_forward)
    return method, teacher, info
