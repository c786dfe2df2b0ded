"""The trainer's part of a cell: it turns the given rows into a trained net and its logits for test images.

It never sees a label except those of labeled images. Of all other images it opens only the pixels.
"""

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferbench.cells.cache_keys import run_identity, shared_identity
from ferbench.cells.method_plan import resolved_config
from ferbench.cells.resolve import ResolvedCell, resolve
from ferbench.contract.events import Epoch, Event, Notice, Step
from ferbench.contract.executor import INLINE, Job
from ferbench.contract.method import Processes
from ferbench.data.cache import cache_root
from ferbench.data.seeds import derive
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, InterruptedRun, UsageError
from ferbench.execution.build import (
    build_method,
    build_network,
    build_task,
    image_set_of,
    method_info,
    trained_net,
    view_maker,
)
from ferbench.execution.devices import choose_device, make_deterministic
from ferbench.execution.handover import FACTS, LOGITS, TEST, CellFacts, ImageRows, Trained, TrainerReport
from ferbench.execution.provenance import cpu_seconds, device_name, environment, peak_memory
from ferbench.execution.record_builder import error_report, unmeasured
from ferbench.execution.run_cell import sources_of
from ferbench.execution.stopping import TimeoutReached
from ferbench.records import lease
from ferbench.records.cell import Cell, digest
from ferbench.records.files import file_digest, write_atomic
from ferbench.records.in_progress import snapshot_file
from ferbench.records.lease import LeaseLostError
from ferbench.records.schema import Measured, RecordConfig, Status
from ferbench.records.store import CHECKPOINT, LEASE, MODEL
from ferbench.training.distributed import join_processes, own_device
from ferbench.training.epoch_stats import BYTES_SAID, DivergedError
from ferbench.training.evaluation import evaluations
from ferbench.training.loop import Training, train
from ferbench.training.model_file import model_bytes
from ferbench.training.run import Events, Run, RunProgress, Stop
from ferbench.training.stage_cache import StageCache


class _Attempt:
    """One trainer's work on a cell."""

    def __init__(self, job: Job, resolved: ResolvedCell, folder: Path) -> None:
        self.job, self.resolved, self.folder = job, resolved, folder
        self.device = own_device(choose_device(job.device, job.processes), job.processes)
        self.processes = Processes()
        self.facts = CellFacts.model_validate_json((folder / FACTS).read_bytes())
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.training: Training | None = None

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tell plugins about a run event. If several processes share the cell, only the first one tells."""
        if self.processes.rank == 0:
            self.resolved.registry.notify(hook, cell=self.resolved.cell, **arguments)

    def begin(self) -> None:
        """Tell plugins that the run begins."""
        self.notify("ferbench_run_started", folder=self.folder.parent, config=self._config())

    def report(
        self, status: Status, trained: Trained | None = None, error: BaseException | None = None
    ) -> TrainerReport:
        """The report of how this trainer ended."""
        return TrainerReport(
            status=status,
            error=error_report(error) if error else None,
            config=self._config(),
            selection=self._selection(),
            measured=self._measured(),
            environment=environment(self.device),
            trained=trained,
        )

    def _config(self) -> RecordConfig:
        """The resolved configuration, with the optimizers that were used."""
        used = self.training.progress.optimizers if self.training else {}
        config = resolved_config(self.resolved).model_dump(mode="json")
        return RecordConfig.model_validate({**config, "optimizers": used})

    def _selection(self) -> str:
        """Which model is evaluated. If a method claims to evaluate the teacher but does not, the claim is corrected."""
        rule, said = self.resolved.protocol.selection, self.resolved.facts.selection
        if self.training is None or said != rule or self.resolved.protocol.validation:
            return said
        run = self.training.run
        return rule if run.method.evaluation_net() is run.teacher.net else "another net than the EMA model"

    def _measured(self) -> Measured:
        progress, job = RunProgress(wall_seconds=time.monotonic() - self.facts.began), self.job
        if self.training:
            self.training.watch.count_wall_time()
            progress = self.training.progress
        seconds = progress.train_seconds
        return Measured(
            started_at=self.started_at,
            wall_seconds=round(progress.wall_seconds, 3),
            cpu_seconds=round(cpu_seconds(), 3),
            train_seconds=round(seconds, 3),
            data_wait_seconds=round(progress.data_wait_seconds, 3),
            images_per_second=round(progress.image_passes / seconds, 2) if seconds else 0.0,
            peak_memory_bytes=peak_memory(self.device),
            threads=job.threads,
            processes=job.processes,
            device=device_name(self.device),
            executor=job.executor,
            resumed=progress.resumed,
        )


def train_cell(
    job: Job, registry: Registry, folder: Path, events: Events, stop: Stop, tests: Callable[[], None]
) -> TrainerReport:
    """Train the cell whose rows are in a folder, or test the model that is named there. Writes files next to the rows.

    `tests` is called when training is over: it writes the rows of test images into the folder. If the training is
    stopped from outside, its checkpoint is saved and the reason is raised. Any other error is in the report.
    """
    torch.set_num_threads(job.threads)
    resolved = resolve(Cell.model_validate(dict(job.cell)), registry, sources_of(job))
    try:
        attempt = _Attempt(job, resolved, folder)
    except UsageError as error:  # this machine does not have the device
        return TrainerReport(
            status="failed",
            error=error_report(error),
            config=resolved_config(resolved),
            selection=resolved.facts.selection,
            measured=unmeasured(job),
            environment=environment(),
        )
    try:
        make_deterministic(attempt.device)
        attempt.processes = join_processes(attempt.device, job.processes)
        if attempt.facts.model is not None:
            _test(attempt, tests)
            return attempt.report("ok")
        return attempt.report("ok", _train(attempt, events, stop, tests))
    except TimeoutReached as error:
        attempt.notify("ferbench_run_interrupted", reason=str(error))
        return attempt.report("timeout", error=error)
    except (InterruptedRun, LeaseLostError, KeyboardInterrupt) as error:
        attempt.notify("ferbench_run_interrupted", reason=str(error) or "interrupted")
        raise
    except DivergedError as error:
        return attempt.report("diverged", error=error)
    except torch.OutOfMemoryError as error:
        return attempt.report("failed", error=_out_of_memory(attempt, error))
    except Exception as error:
        return attempt.report("failed", error=error)


def _out_of_memory(attempt: _Attempt, error: torch.OutOfMemoryError) -> DataError:
    """An error that says how much memory the cell had and needed. Other cells of the sweep go on."""
    had, wanted = peak_memory(attempt.device) / 1e9, str(error).partition(". See documentation")[0]
    found = DataError(
        f"out of memory on {device_name(attempt.device)}: this cell had {had:.2f} GB at the most and needs more "
        f"({wanted}); run fewer cells on each GPU (--per-device), or choose a smaller --backbone"
    )
    return found.with_traceback(error.__traceback__)


def _train(attempt: _Attempt, events: Events, stop: Stop, tests: Callable[[], None]) -> Trained:
    resolved, folder = attempt.resolved, attempt.folder
    attempt.begin()
    training = attempt.training = _training(attempt, events, stop)
    events(Notice(text=_kept_meanwhile(training)))
    progress = train(training)
    method, recipe = training.run.method, resolved.recipe
    net = method.evaluation_net()
    trained = Trained(
        history=progress.history,
        evaluated=progress.evaluated,
        evaluations_begin=training.stages[-1].extra,
        data={planned.stage.name: training.run.task.name_of(planned.stage) for planned in training.stages},
        image_passes=progress.image_passes,
        forward_images=progress.forward_images,
        optimizer_steps=progress.optimizer_steps,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
    )
    if attempt.processes.rank == 0:
        training.owned()
        write_atomic(folder / MODEL, model_bytes(net, resolved.class_names))
        tests()
        snapshots = [snapshot_file(folder, epoch) for epoch in progress.evaluated[:-1]]
        images = image_set_of(ImageRows.read(folder / TEST), attempt.device)
        logits = evaluations(net, snapshots, images, training.run.task.maker, recipe.evaluation_batch)
        _save(folder / LOGITS, logits)
    return trained


def _kept_meanwhile(training: Training) -> str:
    """A sentence that says how much is kept at most beside the checkpoint until the run ends."""
    run, recipe = training.run, training.run.recipe
    state = run.method.evaluation_net().state_dict().values()
    snapshots = (recipe.evaluations - 1) * sum(value.numel() * value.element_size() for value in state)
    said = recipe.steps * recipe.unlabeled_batch * BYTES_SAID if run.task.unlabeled else 0
    return f"keeps up to {(snapshots + said) / 1e6:.1f} MB beside its checkpoint until it ends, to join with labels"


def _test(attempt: _Attempt, tests: Callable[[], None]) -> None:
    """Test the evaluated net of a finished cell, from its file."""
    resolved, facts, device = attempt.resolved, attempt.facts, attempt.device
    attempt.begin()
    net = trained_net(resolved.base, facts, initial_weights(attempt.job, resolved), device)
    maker = view_maker(resolved, net, device)
    tests()
    images = image_set_of(ImageRows.read(attempt.folder / TEST), device)
    logits = evaluations(net, [], images, maker, resolved.recipe.evaluation_batch)
    _save(attempt.folder / LOGITS, logits)


def _training(attempt: _Attempt, events: Events, stop: Stop) -> Training:
    resolved, job, device, facts = attempt.resolved, attempt.job, attempt.device, attempt.facts
    init = initial_weights(job, resolved)
    net = build_network(resolved, init, device)
    if net.backbone.init_match is not None:
        events(Notice(text=net.backbone.init_match.summary()))
    task = build_task(resolved, attempt.folder, net, device)
    info = method_info(resolved, net, facts)
    method, teacher = build_method(resolved, net, info, init, device, attempt.processes)
    # An inline run is never standard. So a run of another executor neither continues it nor uses its cached stages.
    arithmetic = [resolved.cell.precision, device_name(device), job.threads, job.processes, job.executor == INLINE]
    arithmetic += resolved.cell.compiled.values()
    identity = run_identity(resolved, resolved_config(resolved), facts.fingerprints, arithmetic)
    shared = partial(shared_identity, resolved, facts.pretraining_images, arithmetic)
    return Training(
        Run(
            method,
            teacher,
            resolved.recipe,
            task,
            info,
            seed=derive(resolved.cell.seed, "training"),
            precision=resolved.cell.precision,
            compile=resolved.cell.compile,
            processes=attempt.processes,
        ),
        checkpoint_path=attempt.folder.parent / CHECKPOINT,
        folder=attempt.folder,
        stage_cache=StageCache(cache_root() / "stages", identity, shared),
        identity=digest([resolved.cell.cell_id, identity]),
        events=_with_hooks(attempt, events),
        stop=stop,
        owned=partial(_check_lease, attempt.folder.parent / LEASE, facts.lease),
        began=facts.began,
    )


def _check_lease(path: Path, token: str) -> None:
    """Raise LeaseLostError if another process took over the cell. An audit has no lease: its folders are private."""
    if token:
        lease.check(path, token)


def _with_hooks(attempt: _Attempt, events: Events) -> Events:
    """Return a function that sends events to plugins too."""

    def forward(event: Event) -> None:
        if isinstance(event, Step):
            attempt.notify("ferbench_step_taken", step=event)
        if isinstance(event, Epoch):
            attempt.notify("ferbench_epoch_finished", epoch=event.row)
        events(event)

    return forward


def initial_weights(job: Job, resolved: ResolvedCell) -> Path | None:
    """The file of initial weights, or None; raises DataError if it is no longer the planned file."""
    if job.init is None:
        return None
    path = Path(job.init)
    if (found := f"sha256:{file_digest(path)}") != resolved.cell.init:
        raise DataError(f"{path}: has changed since the run was planned ({found}); start the command again")
    return path


def _save(path: Path, logits: "np.ndarray[Any, np.dtype[np.float16]]") -> None:
    buffer = io.BytesIO()
    np.save(buffer, logits)
    write_atomic(path, buffer.getvalue())
