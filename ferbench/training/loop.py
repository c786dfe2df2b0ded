"""The training loop: one function owns the steps of a stage; everything else is a part that it calls."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from ferbench.contract.batch import Batch, Losses
from ferbench.contract.events import Epoch, Event, Notice, Step
from ferbench.data.load.batches import Batches
from ferbench.errors import FerbenchError, InterruptedRun
from ferbench.records.in_progress import IN_PROGRESS, SAID, SNAPSHOTS
from ferbench.training.checkpoint import load_optimizer, restore_run, save_run
from ferbench.training.epoch_stats import EpochStats
from ferbench.training.epochs import epoch_row, keep_epoch
from ferbench.training.forward_log import ForwardLog
from ferbench.training.optimization import average_gradients, learning_rate, set_learning_rate, stage_optimizer
from ferbench.training.pictures import pictures_of, write_pictures
from ferbench.training.run import Events, Run, RunProgress, Stop
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
    began: float | None = None
    progress: RunProgress = field(default_factory=RunProgress)

    def __post_init__(self) -> None:
        self.stages = plan_stages(self.run.method, self.run.recipe)
        self.stats = EpochStats(self.run.info.n_classes, self.run.task.device)
        self.log = ForwardLog(self.run.net, self.run.teacher.net)
        self.watch = Stopwatch(self.progress, self.began)
        self.folder = self.checkpoint_path.parent / IN_PROGRESS
        """Where what labels are joined with is kept until training is over."""

    def save(self, optimizer: Optimizer) -> None:
        """Write the checkpoint; only the first process does."""
        self.watch.count_wall_time()
        if self.run.processes.rank == 0:
            save_run(self.checkpoint_path, self.identity, self.run, self.progress, self.stats, optimizer)


def train(training: Training) -> RunProgress:
    """All stages from wherever the checkpoint stands; bit-equal to an uninterrupted run on the same machine.

    Returns when the last step is done, or raises what `stop` gives once everything is saved.
    """
    run, progress, cache = training.run, training.progress, training.stage_cache
    try:
        saved = None
        if training.checkpoint_path.exists():
            saved = restore_run(training.checkpoint_path, training.identity, run, progress, training.stats)
            if saved is None:
                text = "the checkpoint is of other data, options, code, hardware or executor; the cell starts again"
                training.events(Notice(text=text))
        if saved is None and run.processes.rank == 0:
            for name in (SAID, SNAPSHOTS):  # of a run that is not continued
                shutil.rmtree(training.folder / name, ignore_errors=True)
        for planned in training.stages[progress.stage :]:
            optimizer = stage_optimizer(run.method, planned)
            if saved is not None:
                load_optimizer(optimizer, saved.get("optimizer"))
                saved = None
            if progress.step == 0:
                _begin_stage(training, planned)
            if (pictures := _restored(training, planned)) is None:
                train_stage(training, planned, optimizer)
                pictures = pictures_of(run, planned)
                if run.processes.rank == 0 and planned.stage.is_cached:
                    kept = kept_stage(run, planned.stage, progress, training.folder, pictures)
                    cache.keep(planned.stage, kept)
            if run.processes.rank == 0:
                write_pictures(training.checkpoint_path.parent, planned, pictures)
            if planned.stage.pretraining:
                run.teacher.net.load_state_dict(run.net.state_dict())
            progress.stage, progress.step = planned.number + 1, 0
        return progress
    finally:
        cache.release()


def _restored(training: Training, planned: PlannedStage) -> dict[str, Tensor] | None:
    run, progress = training.run, training.progress
    return restore_stage(training.stage_cache, run, planned.stage, progress, training.folder, training.stop)


def _begin_stage(training: Training, planned: PlannedStage) -> None:
    run, progress = training.run, training.progress
    progress.passes_before, progress.seconds_before = progress.image_passes, progress.train_seconds
    # Each stage draws from its own seeds, so that one taken from the cache leaves the next as training it would.
    torch.manual_seed(planned.seed(run.seed, "noise"))
    run.method.random.manual_seed(planned.seed(run.seed, "method"))
    run.method.start_stage(planned.stage)


def train_stage(training: Training, planned: PlannedStage, optimizer: Optimizer) -> None:
    """The steps of a stage from where it stands; at the end of each epoch a row of the history and a checkpoint."""
    run, progress, stats, watch = training.run, training.progress, training.stats, training.watch
    batches = stage_batches(run, planned)
    per_epoch, last = planned.steps_per_epoch(run.info.steps_per_epoch), training.stages[-1].ends
    run.net.train()
    run.method.train()
    watch.start()
    for step in range(progress.step, planned.steps):
        rate = learning_rate(planned.recipe, step, planned.steps)
        set_learning_rate(optimizer, rate)
        batch = batches.at(step, rate)
        taken = take_step(run, planned, step, batch, optimizer, training.log)
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
                training.save(optimizer)
            watch.start()
        if (reason := _stop_reason(training, step)) is not None:
            _leave_steps(training, batches)
            training.save(optimizer)
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
    run: Run, planned: PlannedStage, step: int, batch: Batch, optimizer: Optimizer, log: ForwardLog
) -> TakenStep:
    """One step of a stage: forward, backward, optimizer, EMA."""
    log.clear()
    with run.autocast():
        losses = planned.stage.loss(batch)
        aux = log.aux_loss()
        images, extras = log.images, log.extras
    total = losses.total if aux is None else losses.total + aux
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    average_gradients(optimizer, run.processes)
    optimizer.step()
    if not planned.stage.pretraining:
        run.teacher.update(planned.begins + step - planned.ema_begins)
    run.method.after_step(batch)
    return TakenStep(total, losses, images, extras)


def _leave_steps(training: Training, batches: Batches) -> None:
    """What must happen before anything is read or saved; the clock is read after the work of the device."""
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
