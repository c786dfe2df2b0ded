"""How a run is cut into stages and epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ferbench.contract.method import Method
from ferbench.contract.optimizer import MAIN
from ferbench.contract.protocol import EPOCHS, Recipe
from ferbench.contract.stage import Stage
from ferbench.data.load.batches import Batches
from ferbench.data.seeds import derive
from ferbench.errors import PluginError
from ferbench.training.run import Run

PRETRAINING_SEED = 0  # the seed of stages that cells of all seeds share


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its place in the run.

    `begins` is the number of steps before it in the run. `extra` is the number of pre-training steps. `ema_begins` is
    the number of steps in all stages that the EMA knows nothing of. `recipes` hold the settings of each of its
    optimizers; `of_protocol` is the protocol's recipe.
    """

    stage: Stage
    number: int
    steps: int
    begins: int
    extra: int
    ema_begins: int
    of_protocol: Recipe
    recipes: Mapping[str, Recipe]

    @property
    def recipe(self) -> Recipe:
        """The recipe with the settings of the stage's main optimizer."""
        return self.recipes[MAIN]

    @property
    def ends(self) -> int:
        """The number of steps of the run when the stage is over."""
        return self.begins + self.steps

    def steps_per_epoch(self, of_run: int) -> int:
        """Steps of an epoch: a part of the protocol's steps, or of the stage's own steps in pre-training."""
        return steps_per_epoch(self.steps) if self.stage.pretraining else of_run

    def seed(self, seed: int, purpose: str) -> int:
        """The stage's seed for a purpose. Stages that cells of all seeds share have a seed of their own."""
        return derive(PRETRAINING_SEED if self.stage.pretraining else seed, purpose, self.stage.name)


def plan_stages(method: Method, recipe: Recipe) -> list[PlannedStage]:
    """The stages of a run in order. Raises PluginError if they cannot be run as declared."""
    stages = checked_stages(method)
    steps = stage_steps(recipe.steps, stages)
    extra = ema_begins = sum(n for stage, n in zip(stages, steps, strict=True) if stage.pretraining)
    planned = []
    for number, stage in enumerate(stages):
        begins = sum(steps[:number])
        ema_begins = begins if stage.fresh else ema_begins
        recipes = {name: settings.of(recipe) for name, settings in stage.optimizers.items()}
        planned.append(PlannedStage(stage, number, steps[number], begins, extra, ema_begins, recipe, recipes))
    return planned


def stage_batches(run: Run, planned: PlannedStage) -> Batches:
    """The batches of a stage."""
    return Batches(
        *run.task.images_of(planned.stage),
        planned.stage.views,
        run.recipe,
        run.task.maker,
        seed=planned.seed(run.seed, "batches"),
        steps=planned.steps,
        sampler=planned.stage.sampler,
        weights=planned.stage.unlabeled_weights() if planned.stage.unlabeled_weights else None,
        processes=run.processes,
        boxes="boxes" in run.method.requires,
    )


def checked_stages(method: Method) -> list[Stage]:
    """The stages of a method. Raises PluginError if they cannot be run as declared."""
    stages = method.declared_stages()
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
    """Why labels or the seed of a cell would affect a result that many cells share. Empty if they do not."""
    if not all(earlier.pretraining for earlier in before):
        return "must come before all others"
    if stage.data != "all" or stage.views.labeled:
        return "must draw data='all' and no labeled view"
    return ""


def stage_steps(total: int, stages: list[Stage]) -> list[int]:
    """Steps of each stage: the protocol's steps are shared among its stages, and pre-training steps are added."""
    own = iter(share_steps(total, [stage.share for stage in stages if not stage.pretraining]))
    return [max(1, round(stage.share * total)) if stage.pretraining else next(own) for stage in stages]


def share_steps(total: int, shares: list[float]) -> list[int]:
    """Whole numbers of steps in proportion to the shares. Each is at least one, and they sum to the total."""
    count = len(shares)
    ends = [round(total * sum(shares[: i + 1]) / sum(shares)) for i in range(count)]
    ends = [min(max(end, i + 1), total - (count - 1 - i)) for i, end in enumerate(ends)]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def steps_per_epoch(steps: int) -> int:
    """A twentieth of the run, but at least one step."""
    return max(1, math.ceil(steps / EPOCHS))
