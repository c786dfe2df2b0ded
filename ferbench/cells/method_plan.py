"""What planning finds out about a method, for processes that handle its cell without loading the method's code."""

from ferbench.cells.resolve import ResolvedCell
from ferbench.contract.strict import Strict
from ferbench.records.schema import RecordConfig


class MethodPlan(Strict):
    """The configuration of a cell, the data that its method draws, and the model that it evaluates.

    `standard` says whether the record will be standard, as far as is known before the run.
    """

    config: RecordConfig
    unlabeled: bool
    everything: bool
    boxes: bool
    relabeled: bool
    standard: bool
    selection: str


def plan_of(resolved: ResolvedCell) -> MethodPlan:
    """Return the plan of a cell, from the facts of its method."""
    facts = resolved.facts
    return MethodPlan(
        config=resolved_config(resolved),
        unlabeled=facts.unlabeled,
        everything=facts.everything,
        boxes="boxes" in facts.requires,
        relabeled=facts.relabeled,
        standard=resolved.standard,
        selection=facts.selection,
    )


def resolved_config(resolved: ResolvedCell) -> RecordConfig:
    """Return the configuration of a cell: every field with its value."""
    recipe = resolved.recipe.model_dump(mode="json", exclude={"backbone"})
    protocol, joint = resolved.protocol, resolved.facts.joint_forward
    return RecordConfig(
        protocol={
            "name": protocol.name,
            "split_rule": protocol.split_rule,
            **protocol.recorded,
            **protocol.label_terms,
            **protocol.evaluation_terms,
            **recipe,
            "joint_forward": recipe["joint_forward"] if joint is None else joint,
        },
        method=dict(resolved.facts.options),
        head=dict(resolved.head_options),
    )
