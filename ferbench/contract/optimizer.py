"""What a stage says of its optimizers: settings that replace the protocol's, parameter groups, an own class."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.optim import Optimizer

from ferbench.contract.protocol import Recipe
from ferbench.errors import PluginError, suggestion

Parameters = Callable[[nn.Module], Iterable[nn.Parameter]]
"""From the net to some parameters, of the net or of the method (`lambda net: net.head.parameters()`)."""

OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]
"""From parameter groups, as torch's optimizers take them (`params`, `lr`, `weight_decay`), to an optimizer."""


@dataclass(frozen=True)
class ParameterGroup:
    """Some of a stage's parameters, with a learning rate of `learning_rate_factor` times the others' (LARS, heads).

    `weight_decay` replaces the stage's. A parameter that two groups pick, or that the stage does not train, is a
    PluginError.
    """

    parameters: Parameters
    learning_rate_factor: float = 1.0
    weight_decay: float | None = None


class OptimizerSettings(BaseModel):
    """What differs from the protocol's optimizer; what is None is the protocol's.

    Parameters that no group picks form the default group. The schedule multiplies each group's own base rate. A cell
    whose method departs from the protocol's optimizer is standard only where `source` says whose settings they are.
    Raises PluginError for a field that there is not and for a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    optimizer: Literal["adamw", "adam", "sgd"] | None = Field(None, description="class of the optimizer")
    learning_rate: float | None = Field(None, gt=0, description="peak learning rate")
    weight_decay: float | None = Field(None, ge=0, description="decoupled for adamw, L2 for sgd and adam")
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd, with Nesterov")
    schedule: Literal["cosine", "constant"] | None = Field(None, description="after the warm-up: to 0, or flat")
    warmup: float | None = Field(None, ge=0, lt=1, description="part of the steps with a linear warm-up")
    groups: tuple[ParameterGroup, ...] = Field((), description="parameters with a rate or a decay of their own")
    factory: OptimizerFactory | None = Field(
        None, description="makes an optimizer of another class, whose state is checkpointed; replaces `optimizer`"
    )
    source: str = Field("", description="where these settings are from: the paper's section, or the authors' code")

    def __init__(self, **values: Any) -> None:
        known = list(type(self).model_fields)
        for name in values.keys() - set(known):
            raise PluginError(
                f"OptimizerSettings has no field '{name}'{suggestion(name, known)}; it has {', '.join(known)}"
            )
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise PluginError(
                f"OptimizerSettings: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"
            ) from None

    @property
    def values(self) -> dict[str, Any]:
        """The fields of the recipe that are replaced."""
        fields = self.model_dump(exclude={"groups", "factory", "source"})
        return {name: value for name, value in fields.items() if value is not None}

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe with these values in it."""
        return recipe.model_copy(update=self.values)

    def departures(self, recipe: Recipe) -> dict[str, Any]:
        """What is not the recipe's, as JSON: fields with their values, the number of groups, the factory's name."""
        found = {name: value for name, value in self.values.items() if value != getattr(recipe, name)}
        if self.groups:
            found["groups"] = len(self.groups)
        if self.factory is not None:
            found["factory"] = getattr(self.factory, "__qualname__", type(self.factory).__name__)
        return found


@dataclass(frozen=True)
class FurtherOptimizer:
    """An optimizer beside the stage's own, over other parameters: Meta Pseudo Labels' teacher. A stage names it."""

    parameters: Parameters
    settings: OptimizerSettings = field(default_factory=OptimizerSettings)


MAIN = "main"
"""The name of a stage's own optimizer."""
