"""The training loop: one function owns the steps of a stage; everything else is a part that it calls."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ferbench.contract.counting import counting
from ferbench.contract.events import Epoch, Event, Notice, Step
from ferbench.data.load.batches import Batches
from ferbench.errors import FerbenchError, InterruptedRun
from ferbench.records.in_progress import SAID, SNAPSHOTS
from ferbench.records.tensor_files import DamagedTensorsError
from ferbench.training.background import Background
from ferbench.training.checkpoint import (
    Checkpoint,
    before,
    fitting,
    load_optimizer,
    restore_run,
    state_of,
    write_checkpoint,
)
from ferbench.training.compiled_loss import CompiledLoss
from ferbench.training.epoch_stats import EpochStats
from ferbench.training.epochs import epoch_row, keep_epoch, stage_context
from ferbench.training.forward_log import ForwardLog
from ferbench.training.optimization import (
    Optimizers,
    counted_steps,
    learning_rate,
    optimizer_facts,
    stage_optimizers,
)
from ferbench.training.pictures import pictures_of, write_pictures
from ferbench.training.run import COSTS, Events, Run, RunProgress, Stop
from ferbench.training.stage_cache import StageCache, kept_stage, restore_stage
from ferbench.training.stages import PlannedStage, plan_stages, stage_batches
from ferbench.training.static_steps import CapturedSteps
from ferbench.training.steps import Steps
from ferbench.training.stopwatch import Stopwatch

ASKED_EVERY = 10  # steps between two checks whether several processes should stop


def _no_event(event: Event) -> None:
    pass


def _never() -> None:
    return None


@dataclass
class Training:
    """A run in progress: its state, its files, who is told about it and who can stop it.

    `identity` names all that the state depends on. A checkpoint with another identity is not used.
    """

    run: Run
    checkpoint_path: Path
    folder: Path
    """The folder of the files that are joined with labels after training."""
    stage_cache: StageCache
    identity: str = ""
    events: Events = _no_event
    stop: Stop = _never
    owned: Callable[[], None] = _never
    """Called before anything is written. It raises if another process has taken over the cell."""
    began: float | None = None
    progress: RunProgress = field(default_factory=RunProgress)
    newest_is_whole: bool = False
    """Whether this run has written or restored the newest checkpoint on disk."""

    def __post_init__(self) -> None:
        self.stages = plan_stages(self.run.method, self.run.recipe)
        self.stats = EpochStats(self.run.info.n_classes, self.run.task.device)
        self.log = ForwardLog(self.run.net, self.run.teacher.net)
        self.watch = Stopwatch(self.progress, self.began)
        self.background = Background()

    def save(self, optimizers: Optimizers) -> None:
        """Write the checkpoint while the next steps run, and keep the one before. Only the first process writes."""
        self.watch.count_wall_time()
        if self.run.processes.rank == 0:
            state = state_of(self.identity, self.run, self.progress, self.stats, optimizers)
            self.background.call(partial(self._write, state))

    def _write(self, state: Checkpoint) -> None:
        self.owned()
        if self.newest_is_whole:
            with suppress(FileNotFoundError):  # moved by a process that has lost the cell and hung in this rename
                os.replace(self.checkpoint_path, before(self.checkpoint_path))
            self.newest_is_whole = False
        write_checkpoint(self.checkpoint_path, state)
        self.newest_is_whole = True


def train(training: Training) -> RunProgress:
    """Run all stages from where the checkpoint stands. Bit-equal to an uninterrupted run on the same machine.

    Returns when the last step is done. If `stop` returns an error, everything is saved and the error is raised.
    """
    with counted_steps(), training.background:
        return _train(training)


def _train(training: Training) -> RunProgress:
    run, progress, cache = training.run, training.progress, training.stage_cache
    try:
        saved = _restore(training)
        if saved is None and run.processes.rank == 0:
            for name in (SAID, SNAPSHOTS):  # files of an earlier run that is not continued
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
    """Restore the newest undamaged checkpoint and report damaged ones. None if there is none."""
    run, progress = training.run, training.progress
    for path in (training.checkpoint_path, before(training.checkpoint_path)):
        if not path.exists():
            continue
        try:
            saved = restore_run(path, training.folder, training.identity, run, progress, training.stats)
        except DamagedTensorsError as error:
            training.events(Notice(text=f"{error.path}: {error.problem}; the cell goes on from an earlier state"))
            continue
        if saved is None:
            text = "the checkpoint belongs to other data, options, code, hardware or executor; the cell starts again"
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
    # Each stage draws from its own seeds, so that the next one is the same whether this one was trained or cached.
    torch.manual_seed(planned.seed(run.seed, "noise"))
    run.method.random.manual_seed(planned.seed(run.seed, "method"))
    with counting(progress):
        run.method.start_stage(planned.stage, stage_context(run, planned))
    if planned.stage.fresh:
        run.net.load_state_dict(run.method.build_network(planned.stage.name).state_dict())
        for average in run.averages:
            average.begin()


def train_stage(training: Training, planned: PlannedStage, optimizers: Optimizers) -> None:
    """Take the steps of a stage from where it stands. Each epoch ends with a row of the history and a checkpoint."""
    run, progress, stats, watch = training.run, training.progress, training.stats, training.watch
    batches = stage_batches(run, planned)
    per_epoch, last = planned.steps_per_epoch(run.info.steps_per_epoch), training.stages[-1].ends
    run.net.train()
    run.method.train()
    training.events(Step(step=planned.begins + progress.step, steps=last))  # what is done already, by a checkpoint
    watch.start()
    take_step = steps_of(run, planned, optimizers, training.log)
    for step in range(progress.step, planned.steps):
        rate = learning_rate(planned.recipe, step, planned.steps)
        batch = batches.at(step, rate)
        with counting(progress, run.processes.count):
            taken = take_step(step, batch)
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
            training.background.wait()
            raise reason
    watch.stop(batches)


def steps_of(run: Run, planned: PlannedStage, optimizers: Optimizers, log: ForwardLog) -> Steps:
    """The way to take the steps of a stage, chosen by the run's `compile`."""
    if run.compile == "net":
        loss = CompiledLoss(run, planned, log)
        planned = replace(planned, stage=replace(planned.stage, loss=loss))
    return (CapturedSteps if run.compile == "step" else Steps)(run, planned, optimizers, log)


def _leave_steps(training: Training, batches: Batches) -> None:
    """Do what must happen before anything is read or saved. The clock stops after the device has finished its work."""
    training.owned()
    training.stats.check_finite()
    training.watch.stop(batches)
    training.stats.settle(training.run.processes)


def _stop_reason(training: Training, step: int) -> FerbenchError | None:
    """Why to save and leave, or None. Several processes leave together, when the first is asked to."""
    processes = training.run.processes
    if processes.count == 1:
        return training.stop()
    if step % ASKED_EVERY:  # since asking waits for the devices
        return None
    reason = training.stop() if processes.rank == 0 else None
    if not training.run.anywhere(reason is not None):
        return None
    return reason or InterruptedRun("the first process was stopped")
