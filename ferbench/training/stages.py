"""How a run is cut into stages and epochs."""

import math

from ferbench.contract.method import Method, Stage
from ferbench.contract.protocol import EPOCHS
from ferbench.errors import PluginError


def checked_stages(method: Method) -> list[Stage]:
    """The stages of a method; raises PluginError where they cannot be run as declared."""
    stages = list(method.stages())
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise PluginError(f"{type(method).__name__}: stages must have different names, not {names}")
    for index, stage in enumerate(stages):
        if stage.pretraining and (problem := _pretraining_problem(stage, stages[:index])):
            raise PluginError(f"{type(method).__name__}: the pre-training stage '{stage.name}' {problem}")
    if stages[-1].cache or stages[-1].pretraining:
        raise PluginError(
            f"{type(method).__name__}: the last stage, '{names[-1]}', is the cell's own and is not cached"
        )
    return stages


def _pretraining_problem(stage: Stage, before: list[Stage]) -> str:
    """Why labels or seed of a cell would enter what many cells share; empty if they do not."""
    if not all(earlier.pretraining for earlier in before):
        return "must come before all others"
    if stage.data != "all" or stage.views.labeled:
        return "must draw data='all' and no labeled view"
    return ""


def stage_steps(total: int, stages: list[Stage]) -> list[int]:
    """Steps of each stage: the protocol's shared among its stages, those of pre-training on top."""
    own = iter(share_steps(total, [stage.share for stage in stages if not stage.pretraining]))
    return [max(1, round(stage.share * total)) if stage.pretraining else next(own) for stage in stages]


def share_steps(total: int, shares: list[float]) -> list[int]:
    """Whole numbers of steps in proportion to the shares, summing to the total."""
    ends = [round(total * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def steps_per_epoch(steps: int) -> int:
    """A twentieth of the run, at least one step."""
    return max(1, math.ceil(steps / EPOCHS))
