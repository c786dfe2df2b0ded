"""One cell from its description to its record on disk."""

import hashlib
import os
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ferbench.cells.cache_keys import run_identity, shared_identity
from ferbench.cells.code_stamps import stamp
from ferbench.cells.resolve import ResolvedCell, resolve
from ferbench.cells.select import CellData, select
from ferbench.contract.events import Epoch, Event, Notice
from ferbench.contract.executor import INLINE, Job
from ferbench.contract.protocol import Headline
from ferbench.data.cache import cache_root
from ferbench.data.load.image_store import CENTRAL_BOX
from ferbench.data.seeds import derive
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError, InterruptedRun
from ferbench.execution.build import build_method, build_network, build_task, method_info
from ferbench.execution.provenance import device_name
from ferbench.execution.record_builder import RecordBuilder, finished_record, has_model, resolved_config
from ferbench.execution.run_cross_test import run_cross_test
from ferbench.execution.stopping import TimeoutReached
from ferbench.records.cell import Cell, digest
from ferbench.records.files import write_atomic
from ferbench.records.history import history_digest
from ferbench.records.metrics import evaluate
from ferbench.records.predictions import Predictions
from ferbench.records.reproduction import Sources
from ferbench.records.schema import ErrorReport, Oracle, Record, Result, Status
from ferbench.records.store import CHECKPOINT, RunStore
from ferbench.training.distributed import join_processes, own_device
from ferbench.training.epoch_stats import DivergedError
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.loop import Training, train
from ferbench.training.model_file import MODEL, model_bytes
from ferbench.training.run import Events, Run, Stop
from ferbench.training.stage_cache import StageCache


def run_cell(job: Job, registry: Registry, events: Events, stop: Stop) -> Record:
    """Run a cell, or take it up where its checkpoint stands; returns the record that is now on disk.

    A cell that fails leaves a record with its reason. What stops it from outside (Ctrl-C, timeout) is raised after
    its checkpoint is saved. Of several processes the first alone locks and writes.
    """
    cell = Cell.model_validate(dict(job.cell))
    torch.set_num_threads(job.threads)
    device = own_device(job.device, job.processes)
    resolved = resolve(cell, registry, sources_of(job))
    builder = RecordBuilder(job, resolved, device, join_processes(device, job.processes))
    store = RunStore(job.runs)
    if builder.processes.rank > 0:
        return _run(builder, store, store.folder(cell), events, stop)
    with store.lock(cell) as folder:
        try:
            record = _run(builder, store, folder, events, stop)
        except TimeoutReached as error:
            record = builder.record("timeout", error=_report(error))
            _leave(record, builder, store)
        except (InterruptedRun, KeyboardInterrupt):
            raise
        except Exception as error:
            status: Status = "diverged" if isinstance(error, DivergedError) else "failed"
            record = builder.record(status, error=_report(error))
            # If the folder is not writable, report the original error.
            with suppress(FerbenchError):
                _leave(record, builder, store)
    registry.notify("ferbench_run_finished", cell=cell, record=record)
    return record


def sources_of(job: Job) -> Sources:
    """Where what the cell knows only by name or hash lies."""
    return Sources(job.dataset, job.pool, job.init, job.test_on)


def _leave(record: Record, builder: RecordBuilder, store: RunStore) -> None:
    if builder.finished is None:
        store.write_result(record.cell, record)


def _run(builder: RecordBuilder, store: RunStore, folder: Path, events: Events, stop: Stop) -> Record:
    _make_deterministic(builder.device)
    data = select(builder.resolved)
    if data.cross_test is not None:
        return run_cross_test(builder, data, data.cross_test, store, folder, events)
    return _train(builder, data, store, folder, events, stop)


def _train(builder: RecordBuilder, data: CellData, store: RunStore, folder: Path, events: Events, stop: Stop) -> Record:
    resolved, cell, registry = builder.resolved, builder.resolved.cell, builder.resolved.registry
    done = finished_record(store, resolved, data.fingerprints, executor=builder.job.executor)
    if done is not None and builder.job.needs_model and not has_model(store, done):
        events(Notice(text="the model of its record is not there or another; it is trained again"))
        builder.finished, done = done, None
    if done is not None:
        if done.plugin.source_hash != stamp(registry, "methods", cell.method).source_hash:
            events(Notice(text=f"the code of '{cell.method}' has changed since this record was made"))
        return done
    for text in data.pool.left_out() if data.pool else ():
        events(Notice(text=f"pool '{cell.pool_name}': {text}"))
    if builder.processes.rank == 0:
        registry.notify("ferbench_run_started", cell=cell, folder=folder)
    training = builder.training = _training(builder, data, folder, events, stop)
    train(training)
    predictions, result = _result(training, resolved, data)
    record = builder.record("ok", result)
    if builder.processes.rank > 0:
        return record
    write_atomic(folder / MODEL, model_bytes(training.run.method.evaluation_net(), resolved.class_names))
    if builder.finished is not None and builder.finished.result == result:
        record = builder.finished
    else:
        store.write_result(cell, record, predictions, training.progress.history)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def _training(builder: RecordBuilder, data: CellData, folder: Path, events: Events, stop: Stop) -> Training:
    resolved, job, device = builder.resolved, builder.job, builder.device
    init = builder.initial_weights()
    net = build_network(resolved, init, device)
    task = build_task(resolved, data, net, device)
    n_unlabeled = None if task.unlabeled is None else len(task.unlabeled)
    info = method_info(resolved, net, len(task.labeled), n_unlabeled, data.selection.labeled_counts)
    method, teacher = build_method(resolved, net, info, init, device, builder.processes)
    if resolved.wants_boxes and (text := missing_boxes(resolved, data)):
        events(Notice(text=text))
    # What was made inline is never standard: a run of another executor neither continues it nor takes a stage from it.
    arithmetic = [resolved.cell.precision, device_name(device), job.threads, job.processes, job.executor == INLINE]
    identity = run_identity(resolved, resolved_config(resolved), data, arithmetic)
    return Training(
        Run(
            method,
            teacher,
            resolved.recipe,
            task,
            info,
            seed=derive(resolved.cell.seed, "training"),
            precision=resolved.cell.precision,
            processes=builder.processes,
        ),
        checkpoint_path=folder / CHECKPOINT,
        stage_cache=StageCache(cache_root() / "stages", identity, partial(shared_identity, resolved, data, arithmetic)),
        identity=digest([resolved.cell.cell_id, identity]),
        events=_with_hooks(builder, events),
        stop=stop,
        began=builder.began,
    )


def _with_hooks(builder: RecordBuilder, events: Events) -> Events:
    """Events that plugins hear of too; of several processes the first tells them."""

    def forward(event: Event) -> None:
        if isinstance(event, Epoch) and builder.processes.rank == 0:
            builder.resolved.registry.notify("ferbench_epoch_finished", cell=builder.resolved.cell, epoch=event.row)
        events(event)

    return forward


def missing_boxes(resolved: ResolvedCell, data: CellData) -> str | None:
    """What stands for the face boxes that the dataset lacks."""
    found = data.images.box_sources(data.selection.labeled)
    missing, detected, size = found["detected"] + found["central"], found["detected"], resolved.recipe.image_size
    if not missing:
        return None
    sides = ", ".join(f"{side * size:.1f}" for side in CENTRAL_BOX)
    by_detector = f"; {detected} have one that the detector found, " if detected else "; "
    rest = f"{found['central']} get the central one ({sides}) of {size} pixels"
    hint = "" if detected else f" (`ferbench boxes {resolved.cell.dataset}` looks for faces)"
    return f"{missing} labeled images of '{resolved.cell.dataset}' have no face box{by_detector}{rest}{hint}"


def _make_deterministic(device: torch.device) -> None:
    """Runs of one seed end in one result; on a GPU that takes cuDNN's and cuBLAS's deterministic kernels, no TF32."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def _result(training: Training, resolved: ResolvedCell, data: CellData) -> tuple[Predictions, Result]:
    run, progress = training.run, training.progress
    task, net = run.task, run.method.evaluation_net()
    logits = stored_logits(logits_of(net, task.test, task.maker, resolved.recipe.evaluation_batch))
    predictions = Predictions(list(task.test.ids), task.test.labels.cpu().numpy(), logits)
    metrics, confusion = evaluate(logits, predictions.labels, task.class_names)
    relabeled = data.relabeled
    result = Result(
        class_names=list(task.class_names),
        metrics=metrics,
        confusion=confusion,
        n_test=len(task.test),
        n_labeled=len(task.labeled),
        n_relabeled=len(set(relabeled.labeled) - set(data.selection.labeled)) if relabeled else None,
        n_unlabeled=None if task.unlabeled is None else len(task.unlabeled),
        n_near_duplicates=data.pool.near_duplicates if data.pool else None,
        labeled_counts=data.selection.labeled_counts,
        fingerprints=data.fingerprints,
        predictions_digest=predictions.digest(),
        history_digest=history_digest(progress.history),
        model_digest=hashlib.sha256(model_bytes(net, task.class_names)).hexdigest(),
        oracle=_oracle(training, resolved.protocol.headline),
        steps=resolved.recipe.steps,
        image_passes=progress.image_passes,
        forward_images=progress.forward_images,
        optimizer_steps=progress.optimizer_steps,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
    )
    return predictions, result


def _oracle(training: Training, headline: Headline) -> Oracle:
    found = [(row.evaluation, row.step) for row in training.progress.history if row.evaluation is not None]
    metrics, step = max(found, key=lambda evaluation: (evaluation[0][headline], -evaluation[1]))
    return Oracle(**metrics, step=step - training.stages[-1].ema_begins, evaluations=len(found))


def _report(error: Exception) -> ErrorReport:
    return ErrorReport(
        type=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
    )
