"""The training loop: one function owns the steps of a stage; everything else is a part that it calls."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from ferbench.contract.batch import Batch, Losses, StepInfo
from ferbench.contract.counting import counting
from ferbench.contract.events import Epoch, Event, Notice, Step
from ferbench.contract.optimizer import MAIN
from ferbench.contract.stage import T
from ferbench.data.load.batches import Batches
from ferbench.errors import FerbenchError, InterruptedRun, PluginError
from ferbench.records.in_progress import IN_PROGRESS, SAID, SNAPSHOTS
from ferbench.records.tensor_files import DamagedTensorsError
from ferbench.training.checkpoint import Checkpoint, before, fitting, load_optimizer, restore_run, save_run
from ferbench.training.epoch_stats import EpochStats
from ferbench.training.epochs import epoch_row, keep_epoch, stage_context
from ferbench.training.forward_log import ForwardLog
from ferbench.training.losses import check_losses
from ferbench.training.optimization import (
    Optimizers,
    average_gradients,
    counted_steps,
    learning_rate,
    optimizer_facts,
    set_learning_rates,
    stage_optimizers,
)
from ferbench.training.pictures import pictures_of, write_pictures
from ferbench.training.run import COSTS, Events, Run, RunProgress, Stop
from ferbench.training.stage_cache import StageCache, kept_stage, restore_stage
from ferbench.training.stages import PlannedStage, plan_stages, stage_batches
from ferbench.training.stopwatch import Stopwatch

ASKED_EVERY = 10  # steps, whether several processes should stop


def _no_event(event: Event) -> None:
    pass


def _never() -> None:
    return None


@dataclass
class Training:
    """A run under way: its state, its files, whom it tells and who stops it.

    `identity` is all that the state depends on: a checkpoint of another is not taken up.
    """

    run: Run
    checkpoint_path: Path
    stage_cache: StageCache
    identity: str = ""
    events: Events = _no_event
    stop: Stop = _never
    owned: Callable[[], None] = _never
    """Asked before anything is written; raises where another process has taken the cell over."""
    began: float | None = None
    progress: RunProgress = field(default_factory=RunProgress)
    newest_is_whole: bool = False
    """Whether the newest checkpoint on disk is one that this run has written or taken up."""

    def __post_init__(self) -> None:
        self.stages = plan_stages(self.run.method, self.run.recipe)
        self.stats = EpochStats(self.run.info.n_classes, self.run.task.device)
        self.log = ForwardLog(self.run.net, self.run.teacher.net)
        self.watch = Stopwatch(self.progress, self.began)
        self.folder = self.checkpoint_path.parent / IN_PROGRESS
        """Where what labels are joined with is kept until training is over."""

    def save(self, optimizers: Optimizers) -> None:
        """Write the checkpoint and keep the one before; only the first process does."""
        self.watch.count_wall_time()
        if self.run.processes.rank > 0:
            return
        if self.newest_is_whole:
            os.replace(self.checkpoint_path, before(self.checkpoint_path))
        save_run(self.checkpoint_path, self.identity, self.run, self.progress, self.stats, optimizers)
        self.newest_is_whole = True


def train(training: Training) -> RunProgress:
    """All stages from wherever the checkpoint stands; bit-equal to an uninterrupted run on the same machine.

    Returns when the last step is done, or raises what `stop` gives once everything is saved.
    """
    with counted_steps():
        return _train(training)


def _train(training: Training) -> RunProgress:
    run, progress, cache = training.run, training.progress, training.stage_cache
    try:
        saved = _restore(training)
        if saved is None and run.processes.rank == 0:
            for name in (SAID, SNAPSHOTS):  # of a run that is not continued
                shutil.rmtree(training.folder / name, ignore_errors=True)
        for planned in training.stages[progress.stage :]:
            optimizers = stage_optimizers(run.method, planned)
            progress.optimizers[planned.stage.name] = optimizer_facts(optimizers, planned)
            if saved is not None:
                with fitting(training.checkpoint_path):
                    for name, optimizer in optimizers.items():
                        load_optimizer(optimizer, saved, name)
                saved = None
            if progress.step == 0:
                _begin_stage(training, planned)
            if (pictures := _restored(training, planned)) is None:
                train_stage(training, planned, optimizers)
                pictures = pictures_of(run, planned)
                if run.processes.rank == 0 and planned.stage.is_cached:
                    kept = kept_stage(run, planned.stage, progress, training.folder, pictures)
                    cache.keep(planned.stage, kept)
            if run.processes.rank == 0:
                write_pictures(training.checkpoint_path.parent, planned, pictures)
            for average in run.averages if planned.stage.pretraining else ():
                average.begin()
            progress.stage, progress.step = planned.number + 1, 0
        return progress
    finally:
        cache.release()


def _restore(training: Training) -> Checkpoint | None:
    """The newest checkpoint that is as it was written, taken up; damaged ones are named. None where there is none."""
    for path in (training.checkpoint_path, before(training.checkpoint_path)):
        if not path.exists():
            continue
        try:
            saved = restore_run(path, training.identity, training.run, training.progress, training.stats)
        except DamagedTensorsError as error:
            training.events(Notice(text=f"{error.path}: {error.problem}; the cell goes on from an earlier state"))
            continue
        if saved is None:
            text = "the checkpoint is of other data, options, code, hardware or executor; the cell starts again"
            training.events(Notice(text=text))
            return None
        training.newest_is_whole = path == training.checkpoint_path
        return saved
    return None


def _restored(training: Training, planned: PlannedStage) -> dict[str, Tensor] | None:
    run, progress = training.run, training.progress
    return restore_stage(training.stage_cache, run, planned.stage, progress, training.folder, training.stop)


def _begin_stage(training: Training, planned: PlannedStage) -> None:
    run, progress = training.run, training.progress
    progress.before = {name: getattr(progress, name) for name in COSTS}
    # Each stage draws from its own seeds, so that one taken from the cache leaves the next as training it would.
    torch.manual_seed(planned.seed(run.seed, "noise"))
    run.method.random.manual_seed(planned.seed(run.seed, "method"))
    with counting(progress):
        run.method.start_stage(planned.stage, stage_context(run, planned))
    if planned.stage.fresh:
        run.net.load_state_dict(run.method.build_network(planned.stage.name).state_dict())
        for average in run.averages:
            average.begin()


def train_stage(training: Training, planned: PlannedStage, optimizers: Optimizers) -> None:
    """The steps of a stage from where it stands; at the end of each epoch a row of the history and a checkpoint."""
    run, progress, stats, watch = training.run, training.progress, training.stats, training.watch
    batches = stage_batches(run, planned)
    per_epoch, last = planned.steps_per_epoch(run.info.steps_per_epoch), training.stages[-1].ends
    run.net.train()
    run.method.train()
    watch.start()
    for step in range(progress.step, planned.steps):
        rate = learning_rate(planned.recipe, step, planned.steps)
        set_learning_rates(optimizers, planned, step)
        batch = batches.at(step, rate)
        with counting(progress, run.processes.count):
            taken = take_step(run, planned, step, batch, optimizers, training.log)
        numbers = batch.unlabeled.index if batch.unlabeled else None
        stats.add(planned.begins + step, taken.total, taken.losses, numbers)
        stats.add_extras(taken.extras)
        progress.image_passes += taken.images * run.processes.count
        progress.step = step + 1
        if watch.ticks():
            training.events(Step(step=planned.begins + step + 1, steps=last))

        if (step + 1) % per_epoch == 0 or step + 1 == planned.steps:
            _leave_steps(training, batches)
            row = epoch_row(run, planned, progress, stats, rate)
            progress.history.append(row)
            keep_epoch(run, planned, progress, stats.take_said(), training.folder)
            training.events(Epoch(row=row))
            if row.step < last:
                training.save(optimizers)
            watch.start()
        if (reason := _stop_reason(training, step)) is not None:
            _leave_steps(training, batches)
            training.save(optimizers)
            raise reason
    watch.stop(batches)


@dataclass(frozen=True)
class TakenStep:
    """What a step has done: the total that it minimised, the method's losses, and what went through the nets."""

    total: Tensor
    losses: Losses
    images: int
    extras: Sequence[Mapping[str, Tensor]]


def take_step(
    run: Run, planned: PlannedStage, step: int, batch: Batch, optimizers: Optimizers, log: ForwardLog
) -> TakenStep:
    """One step of a stage: forward, backward, optimizer, averages; or what the stage does in its place."""
    log.clear()
    steps = OptimizerSteps(run, planned, batch, optimizers, log)
    stage = planned.stage
    if stage.step is None:
        losses = steps(lambda: stage.loss(batch))
    else:
        losses = check_losses(stage.step(batch, steps), batch, run.method, stage)
    images, extras = log.images, log.extras
    if not stage.pretraining:
        for average in run.averages:
            average.update(planned.begins + step - planned.ema_begins)
    run.method.after_step(StepInfo(batch, losses))
    return TakenStep(losses.total, losses, images, extras)


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


def _leave_steps(training: Training, batches: Batches) -> None:
    """What must happen before anything is read or saved; the clock is read after the work of the device."""
    training.owned()
    training.stats.check_finite()
    training.watch.stop(batches)
    training.stats.settle(training.run.processes)


def _stop_reason(training: Training, step: int) -> FerbenchError | None:
    """Why to save and leave. Several processes leave together, when the first is asked to."""
    processes = training.run.processes
    if processes.count == 1:
        return training.stop()
    if step % ASKED_EVERY:  # since asking waits for the devices
        return None
    reason = training.stop() if processes.rank == 0 else None
    if not training.run.anywhere(reason is not None):
        return None
    return reason or InterruptedRun("the first process was stopped")
