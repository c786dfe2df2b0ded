"""Optimizers and learning-rate schedules of a recipe."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ferbench.contract.method import Method, Processes
from ferbench.contract.protocol import Recipe
from ferbench.training.stages import PlannedStage


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the parameters that need gradients, fused (two kernels a step)."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return SGD(
            trained, rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay, fused=True
        )
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(trained, rate, weight_decay=decay, fused=True)


def stage_optimizer(method: Method, planned: PlannedStage) -> Optimizer:
    """The optimizer of a stage over what it trains: all of net and method, unless it picks."""
    if planned.stage.parameters is not None:
        return make_optimizer(planned.stage.parameters(method.net), planned.recipe)
    return make_optimizer([*method.net.parameters(), *method.parameters()], planned.recipe)


def average_gradients(optimizer: Optimizer, processes: Processes) -> None:
    """Give all processes the gradient of the mean of their losses, in one exchange."""
    if processes.count == 1:
        return
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    mean = processes.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = mean.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)])


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to 0 or constant; a function of the step alone."""
    warmup = max(1, round(recipe.warmup * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every parameter group the rate of this step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
