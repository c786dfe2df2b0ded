"""What a configured method says of itself, as JSON: all that planning must know of its code."""

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
    """What a method with its options needs, evaluates and trains with, whatever the labels and the seed of its cell.

    `optimizers` are the stages that train otherwise than the protocol and say no source. A method that `limits_pool`
    wants to be asked whether it can learn from a pool of a size.
    """

    options: Mapping[str, JsonValue]
    requires: frozenset[str]
    unlabeled: bool
    everything: bool
    relabeled: bool
    joint_forward: bool | None
    selection: str
    optimizers: tuple[str, ...]
    limits_pool: bool


def facts_of(method: "Method", recipe: Recipe, protocol: Protocol) -> MethodFacts:
    """The facts of a method that is attached to nothing."""
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
        limits_pool=type(method).pool_problem.__module__ != "ferbench.contract.method",
    )


class RowFacts(Strict):
    """What a row of a grid comes to on a dataset and a backbone, whatever its labels and seeds."""

    variant: str
    head: str | None
    overrides: Overrides
    method: MethodFacts
