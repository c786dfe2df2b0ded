"""The steps of a run one by one, as `train_stage` takes them: for timings, and for what must not happen within one."""

from dataclasses import replace

from ferbench.contract.batch import Batch
from ferbench.training.loop import Training
from ferbench.training.optimization import learning_rate, stage_optimizers
from ferbench.training.stages import stage_batches
from ferbench.training.steps import Steps


class Stepper:
    """A stage of a run, the first unless another is named, begun."""

    def __init__(self, training: Training, stage: int = 0, kind: type[Steps] = Steps) -> None:
        self.training, self.run, self.planned = training, training.run, training.stages[stage]
        self.optimizers = stage_optimizers(self.run.method, self.planned)
        self.batches = stage_batches(self.run, self.planned)
        self.steps = kind(self.run, self.planned, self.optimizers, training.log)
        self.run.net.train()

    def batch(self, number: int) -> Batch:
        """The images of a step, in their views."""
        return self.batches.at(number, self.rate(number))

    def rate(self, number: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self.planned.recipe, number, self.planned.steps)

    def step(self, number: int, batch: Batch | None = None) -> None:
        """One step, whole: draw, train, count."""
        batch = batch or self.batch(number)
        taken = self.steps(number, batch)
        numbers = batch.unlabeled.index if batch.unlabeled else None
        self.training.stats.add(number, taken.total, taken.losses, numbers)
        self.training.stats.add_extras(taken.extras)

    def with_loss(self, loss) -> None:  # type: ignore[no-untyped-def]
        """Put another loss in the stage's place, such as one that is timed."""
        self.planned = replace(self.planned, stage=replace(self.planned.stage, loss=loss))
        self.steps = Steps(self.run, self.planned, self.optimizers, self.training.log)
