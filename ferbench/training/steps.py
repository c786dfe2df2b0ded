"""A step of training: forward, backward, optimizer, averages. A stage may replace it by its own step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from ferbench.contract.batch import Batch, Losses, StepInfo
from ferbench.contract.optimizer import MAIN
from ferbench.contract.stage import T
from ferbench.errors import PluginError
from ferbench.training.forward_log import ForwardLog
from ferbench.training.losses import check_losses
from ferbench.training.optimization import Optimizers, average_gradients, set_learning_rates
from ferbench.training.run import Run
from ferbench.training.stages import PlannedStage


@dataclass(frozen=True)
class TakenStep:
    """The result of a step: the total that it minimised, the method's losses, and what went through the nets."""

    total: Tensor
    losses: Losses
    images: int
    extras: Sequence[Mapping[str, Tensor]]


class Steps:
    """The steps of a stage, as the method's code defines them: forward, backward, optimizer, averages."""

    def __init__(self, run: Run, planned: PlannedStage, optimizers: Optimizers, log: ForwardLog) -> None:
        self.run, self.planned, self.optimizers, self.log = run, planned, optimizers, log
        self.averages = [] if planned.stage.pretraining else run.averages

    def __call__(self, step: int, batch: Batch) -> TakenStep:
        """Take step number `step`, at its learning rate."""
        set_learning_rates(self.optimizers, self.planned, step)
        taken = self.train(batch, self.average_weights(step))
        self.run.method.after_step(StepInfo(batch, taken.losses))
        return taken

    def train(self, batch: Batch, weights: Sequence[float | Tensor]) -> TakenStep:
        """All of a step but the method's `after_step`. `weights` say how much each average takes of its net."""
        self.log.clear()
        steps = OptimizerSteps(self.run, self.planned, batch, self.optimizers, self.log)
        stage = self.planned.stage
        if stage.step is None:
            losses = steps(lambda: stage.loss(batch))
        else:
            losses = check_losses(stage.step(batch, steps), batch, self.run.method, stage)
        images, extras = self.log.images, self.log.extras
        for average, weight in zip(self.averages, weights, strict=True):
            average.take(weight)
        return TakenStep(losses.total, losses, images, extras)

    def average_weights(self, step: int) -> list[float]:
        """How much each average takes of its net in a step."""
        return [average.weight(self.planned.begins + step - self.planned.ema_begins) for average in self.averages]


@dataclass(frozen=True)
class OptimizerSteps:
    """Takes the optimizer steps of one step: the contract's `TakeStep`."""

    run: Run
    planned: PlannedStage
    batch: Batch
    optimizers: Optimizers
    log: ForwardLog

    def __call__(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        losses = self.gradients(loss, optimizer)
        self.step(optimizer)
        return losses

    def forward(self, compute: Callable[[], T]) -> T:
        with self.run.autocast():
            return compute()

    def gradients(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        run, trained = self.run, self._named(optimizer)
        self.log.begin_loss()
        with run.autocast():
            losses = check_losses(loss(), self.batch, run.method, self.planned.stage)
            aux = self.log.aux_loss()
        if aux is not None:
            losses = losses.plus(aux)
        trained.zero_grad(set_to_none=True)
        losses.total.backward()
        average_gradients(trained, run.processes)
        return losses

    def step(self, optimizer: str = MAIN) -> None:
        self._named(optimizer).step()

    def _named(self, name: str) -> Optimizer:
        if name not in self.optimizers:
            raise PluginError(
                f"{type(self.run.method).__name__}: stage '{self.planned.stage.name}' has no optimizer '{name}'; "
                f"it has {', '.join(self.optimizers)}"
            )
        return self.optimizers[name]
