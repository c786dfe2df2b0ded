"""Optimizers of a stage, the facts about them in the record, and learning-rate schedules."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from ferbench.contract.counting import count_optimizer_step
from ferbench.contract.method import Method, Processes
from ferbench.contract.optimizer import OptimizerSettings, ParameterGroup
from ferbench.contract.protocol import Recipe
from ferbench.errors import PluginError
from ferbench.training.stages import PlannedStage

BASE_RATE = "base_lr"
"""Key of a parameter group's peak learning rate, by which the schedule is multiplied."""

Optimizers = dict[str, Optimizer]
"""The optimizers of a stage by name, the main one first."""


def stage_optimizers(method: Method, planned: PlannedStage) -> Optimizers:
    """The optimizers of a stage, the main one first. It trains all of net and method unless the stage picks parameters.

    Raises PluginError if two of them would train the same parameter.
    """
    stage, made = planned.stage, Optimizers()
    further = {name: list(each.parameters(method.net)) for name, each in stage.further.items()}
    taken = {id(parameter) for parameters in further.values() for parameter in parameters}
    if stage.parameters is not None:
        own = list(stage.parameters(method.net))
    else:
        own = [p for p in (*method.net.parameters(), *method.parameters()) if id(p) not in taken]
    for name, settings in stage.optimizers.items():
        where = f"{type(method).__name__}: optimizer '{name}' of stage '{stage.name}'"
        try:
            made[name] = _make(method.net, further.get(name, own), settings, planned.recipes[name])
        except PluginError as error:
            raise PluginError(f"{where}: {error}") from None
    trained = [id(p) for optimizer in made.values() for group in optimizer.param_groups for p in group["params"]]
    if len(set(trained)) < len(trained):
        raise PluginError(f"{type(method).__name__}: two optimizers of stage '{stage.name}' train the same parameters")
    return made


def make_optimizer(parameters: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over parameter groups, in its fused form (two kernels a step)."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return SGD(
            parameters, rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay, fused=True
        )
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(parameters, rate, weight_decay=decay, fused=True)


def _make(net: nn.Module, parameters: Sequence[nn.Parameter], settings: OptimizerSettings, recipe: Recipe) -> Optimizer:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [_group(net, group, trained, recipe) for group in settings.groups]
    picked = [id(parameter) for group in groups for parameter in group["params"]]
    if len(set(picked)) < len(picked):
        raise PluginError("two parameter groups pick the same parameter; give each its own")
    rest = [parameter for parameter in trained if id(parameter) not in picked]
    if rest or not groups:
        groups.insert(0, {"params": rest, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay})
    optimizer = make_optimizer(groups, recipe) if settings.factory is None else settings.factory(groups)
    if not isinstance(optimizer, Optimizer):
        raise PluginError(f"the factory gave a {type(optimizer).__name__}; give a torch.optim.Optimizer")
    for group in optimizer.param_groups:
        group[BASE_RATE] = float(group["lr"])
    return optimizer


def _group(net: nn.Module, group: ParameterGroup, trained: Sequence[nn.Parameter], recipe: Recipe) -> dict[str, Any]:
    known = {id(parameter) for parameter in trained}
    parameters = [parameter for parameter in group.parameters(net) if parameter.requires_grad]
    if any(id(parameter) not in known for parameter in parameters):
        raise PluginError("a parameter group picks what the stage does not train; name it in `parameters` of the stage")
    decay = recipe.weight_decay if group.weight_decay is None else group.weight_decay
    return {"params": parameters, "lr": recipe.learning_rate * group.learning_rate_factor, "weight_decay": decay}


def optimizer_facts(optimizers: Optimizers, planned: PlannedStage) -> dict[str, JsonValue]:
    """What really trains in a stage, for the record: the class of each optimizer, its groups and their numbers."""
    facts: dict[str, JsonValue] = {}
    for name, settings in planned.stage.optimizers.items():
        recipe, kind = planned.recipes[name], type(optimizers[name])
        facts[name] = {
            "optimizer": kind.__name__
            if kind.__module__.startswith("torch.")
            else f"{kind.__module__}.{kind.__name__}",
            "schedule": recipe.schedule,
            "warmup": recipe.warmup,
            "groups": [_group_facts(group) for group in optimizers[name].param_groups],
            "departures": settings.departures(planned.of_protocol),
            "source": settings.source,
        }
    return facts


def _group_facts(group: dict[str, Any]) -> dict[str, JsonValue]:
    settings: dict[str, JsonValue] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in group.items()
        if key not in ("params", "lr", BASE_RATE, "initial_lr", "fused", "foreach", "capturable", "differentiable")
        and isinstance(value, bool | int | float | str | tuple)
    }
    count = sum(parameter.numel() for parameter in group["params"])
    return {"parameters": count, "learning_rate": group[BASE_RATE], "settings": settings}


@contextmanager
def counted_steps() -> Iterator[None]:
    """Within this block every step of every torch optimizer is counted, whoever takes it."""
    handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: count_optimizer_step())
    try:
        yield
    finally:
        handle.remove()


def average_gradients(optimizer: Optimizer, processes: Processes) -> None:
    """Give all processes the gradient of the mean of their losses, in one exchange."""
    if processes.count == 1:
        return
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    mean = processes.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = mean.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)])


def learning_rate(recipe: Recipe, step: int, steps: int, base: float | None = None) -> float:
    """Linear warm-up to a base rate (the recipe's, if omitted), then half a cosine down to 0, or constant."""
    base, warmup = recipe.learning_rate if base is None else base, max(1, round(recipe.warmup * steps))
    if step < warmup:
        return base * (step + 1) / warmup
    if recipe.schedule == "constant":
        return base
    return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_learning_rates(optimizers: Optimizers, planned: PlannedStage, step: int) -> None:
    """Give every parameter group its rate for this step. A rate that is a tensor is changed in place."""
    for name, recipe in planned.recipes.items():
        for group in optimizers[name].param_groups:
            rate = learning_rate(recipe, step, planned.steps, group[BASE_RATE])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
