"""The optimizers of a stage: settings that replace the protocol's, parameter groups, other optimizer classes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.optim import Optimizer

from ferbench.contract.protocol import Recipe
from ferbench.errors import PluginError, suggestion

Parameters = Callable[[nn.Module], Iterable[nn.Parameter]]
"""A function from the net to some parameters, of the net or of the method (`lambda net: net.head.parameters()`)."""

OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]
"""A function from parameter groups in torch's form (`params`, `lr`, `weight_decay`) to an optimizer."""


@dataclass(frozen=True)
class ParameterGroup:
    """Some of a stage's parameters; their learning rate is `learning_rate_factor` times the stage's (LARS, heads).

    `weight_decay` replaces the stage's. A PluginError is raised if two groups pick the same parameter, or if the stage
    does not train it.
    """

    parameters: Parameters
    learning_rate_factor: float = 1.0
    weight_decay: float | None = None


class OptimizerSettings(BaseModel):
    """Settings that differ from the protocol's optimizer; a field that is None keeps the protocol's value.

    Parameters that no group picks form the default group. The schedule multiplies the base rate of each group. A cell
    whose method departs from the protocol's optimizer is standard only if `source` says where the settings are from.
    Raises PluginError for an unknown field or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    optimizer: Literal["adamw", "adam", "sgd"] | None = Field(None, description="class of the optimizer")
    learning_rate: float | None = Field(None, gt=0, description="peak learning rate")
    weight_decay: float | None = Field(None, ge=0, description="decoupled for adamw, L2 for sgd and adam")
    momentum: float | None = Field(None, ge=0, lt=1, description="Nesterov momentum of sgd")
    schedule: Literal["cosine", "constant"] | None = Field(
        None, description="learning rate after the warm-up: cosine decay to 0, or constant"
    )
    warmup: float | None = Field(None, ge=0, lt=1, description="share of the steps with a linear warm-up")
    groups: tuple[ParameterGroup, ...] = Field((), description="parameters with their own rate or weight decay")
    factory: OptimizerFactory | None = Field(
        None, description="makes an optimizer of another class, whose state is checkpointed; replaces `optimizer`"
    )
    source: str = Field("", description="source of these settings: the paper's section, or the authors' code")

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
        """The replaced fields of the recipe, with their values."""
        fields = self.model_dump(exclude={"groups", "factory", "source"})
        return {name: value for name, value in fields.items() if value is not None}

    def of(self, recipe: Recipe) -> Recipe:
        """Return the recipe with these values."""
        return recipe.model_copy(update=self.values)

    def departures(self, recipe: Recipe) -> dict[str, Any]:
        """Return the differences from the recipe as JSON: fields with values, number of groups, name of the factory."""
        found = {name: value for name, value in self.values.items() if value != getattr(recipe, name)}
        if self.groups:
            found["groups"] = len(self.groups)
        if self.factory is not None:
            found["factory"] = getattr(self.factory, "__qualname__", type(self.factory).__name__)
        return found


@dataclass(frozen=True)
class FurtherOptimizer:
    """A named optimizer besides the stage's own, for other parameters, such as Meta Pseudo Labels' teacher."""

    parameters: Parameters
    settings: OptimizerSettings = field(default_factory=OptimizerSettings)


MAIN = "main"
"""The name of a stage's own optimizer."""
