"""What of a method must be known by who runs its cell without the method's code: found when the cell is planned."""

from ferbench.cells.resolve import ResolvedCell
from ferbench.contract.strict import Strict
from ferbench.records.schema import RecordConfig


class MethodPlan(Strict):
    """The configuration that a cell runs with, what data its method draws, and what it evaluates.

    `standard` says whether the record will be a standard one, as far as it is known before the run.
    """

    config: RecordConfig
    unlabeled: bool
    everything: bool
    boxes: bool
    relabeled: bool
    standard: bool
    selection: str


def plan_of(resolved: ResolvedCell) -> MethodPlan:
    """The plan of a cell, from what its method says of itself."""
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
    """Every field with the value that the cell runs with."""
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
