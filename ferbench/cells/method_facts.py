"""Facts that a configured method states about itself, as JSON: all that planning must know about its code."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from ferbench.contract.protocol import Protocol, Recipe
from ferbench.contract.strict import Strict
from ferbench.records.cell import Overrides
from ferbench.records.checks import unsourced

if TYPE_CHECKING:
    from ferbench.contract.method import Method


class MethodFacts(Strict):
    """What a configured method needs, evaluates and trains with, independent of the labels and the seed of its cell.

    `optimizers` names the stages that depart from the protocol's optimizer without a source. `eager` says, by the
    value of a cell's `compile`, why the method's steps cannot be such graphs. If `limits_pool` is set, the method must
    be asked whether it can learn from a pool of a given size.
    """

    options: Mapping[str, JsonValue]
    requires: frozenset[str]
    unlabeled: bool
    everything: bool
    relabeled: bool
    joint_forward: bool | None
    selection: str
    optimizers: tuple[str, ...]
    eager: Mapping[str, str]
    limits_pool: bool


def facts_of(method: "Method", recipe: Recipe, protocol: Protocol) -> MethodFacts:
    """Return the facts of a method that is not attached to a net."""
    rule = protocol.selection
    return MethodFacts(
        options=method.config.model_dump(mode="json"),
        requires=frozenset(method.requires),
        unlabeled=method.uses_unlabeled,
        everything=any(stage.data == "all" for stage in method.stages()),
        relabeled=any(stage.data == "relabeled" for stage in method.declared_stages()),
        joint_forward=method.joint_forward,
        selection=rule if protocol.validation else method.selection(rule),
        optimizers=tuple(
            line
            for stage in method.declared_stages()
            for settings in stage.optimizers.values()
            for line in unsourced(stage.name, settings.departures(recipe), settings.source)
        ),
        eager=_eager(method),
        limits_pool=type(method).pool_problem.__module__ != "ferbench.contract.method",
    )


def _eager(method: "Method") -> dict[str, str]:
    """Why steps cannot be graphs, by the value of `compile`, in words that follow the method's name."""
    if method.runs_eagerly:
        return dict.fromkeys(("net", "step"), method.runs_eagerly)
    for stage in method.declared_stages():
        if stage.step is not None:
            return dict.fromkeys(("net", "step"), f"takes steps of its own in stage '{stage.name}'")
        if any(settings.factory for settings in stage.optimizers.values()):
            return {"step": f"makes an optimizer of its own in stage '{stage.name}', which may not begin with zeros"}
    return {}


class RowFacts(Strict):
    """A row of a grid on a dataset and a backbone, resolved; independent of labels and seeds."""

    variant: str
    head: str | None
    overrides: Overrides
    method: MethodFacts
