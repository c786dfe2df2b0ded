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
    """The plan of a cell, from its method's code."""
    return MethodPlan(
        config=resolved_config(resolved),
        unlabeled=resolved.declared.uses_unlabeled,
        everything=resolved.draws_everything,
        boxes=resolved.wants_boxes,
        relabeled=resolved.relabels,
        standard=resolved.standard,
        selection=resolved.selection,
    )


def resolved_config(resolved: ResolvedCell) -> RecordConfig:
    """Every field with the value that the cell runs with."""
    recipe = resolved.recipe.model_dump(mode="json", exclude={"backbone"})
    protocol, joint = resolved.protocol, resolved.declared.joint_forward
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
        method=resolved.config.model_dump(mode="json"),
        head=dict(resolved.head_options),
    )
