"""Runs of registered methods on the toy task, with the views that they ask for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ferbench.cells.resolve import view_kinds
from ferbench.conformance.toy_task import CPU, RECIPE, toy_task, toy_training
from ferbench.contract.method import Method
from ferbench.discovery.registry import Registry
from ferbench.training.loop import Training


def toy_run(
    registry: Registry,
    name: str,
    folder: Path,
    *,
    fields: Mapping[str, int] | None = None,
    device: torch.device = CPU,
    **more: Any,
) -> Training:
    """A run of a method as it is by default; `fields` replace those of the recipe, `more` are of `toy_training`."""
    method_class: type[Method] = registry.load("methods", name)
    method = method_class(method_class.Config.model_validate(next(iter(method_class.variants.values()))))
    kinds = {kind: registry.load("views", kind) for kind in view_kinds(method)}
    task = toy_task(
        unlabeled=method.uses_unlabeled, validation="validation" in method.requires, kinds=kinds, device=device
    )
    recipe = RECIPE.model_copy(update=fields or {})
    return toy_training(method, folder, task=task, recipe=recipe, device=device, **more)
