"""One cell from its description to its record on disk."""

import hashlib
import os
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ferbench.contract.executor import Job
from ferbench.data.pack import cache_root
from ferbench.data.packed import CENTRAL_BOX
from ferbench.data.seeds import derive
from ferbench.errors import FerbenchError, InterruptedRun
from ferbench.plugins import registry
from ferbench.records.cell import Cell, digest
from ferbench.records.metrics import evaluate
from ferbench.records.schema import ErrorReport, Oracle, Record, Result, Status
from ferbench.records.store import Predictions, RunStore, write_atomic
from ferbench.training.attempt import Attempt, finished_record, has_model, resolved_config
from ferbench.training.cross_run import evaluate_elsewhere
from ferbench.training.engine import DivergedError, Events, Stop, Trainer
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.identity import run_identity, shared_identity
from ferbench.training.model_file import MODEL, model_bytes
from ferbench.training.processes import join_processes, own_device
from ferbench.training.provenance import device_name, stamp
from ferbench.training.resolution import Resolved, resolve
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Split, build_method, build_network, build_task, method_info, split_of

CHECKPOINT = "checkpoint.safetensors"


class TimeoutReached(FerbenchError):
    """The cell used up its time; its checkpoint is saved."""


def run_cell(job: Job, events: Events, stop: Stop) -> Record:
    """Run a cell, or take it up where its checkpoint stands; returns the record that is now on disk.

    A cell that fails leaves a record with its reason. What stops it from outside (Ctrl-C, timeout) is raised after
    its checkpoint is saved. Of several processes the first alone locks and writes.
    """
    cell = Cell.model_validate(dict(job.cell))
    torch.set_num_threads(job.threads)
    device = own_device(job.device, job.processes)
    resolved = resolve(cell, job.dataset, job.pool, job.test_on)
    attempt = Attempt(job, resolved, device, join_processes(device, job.processes))
    store = RunStore(job.runs)
    if attempt.processes.rank > 0:
        return _run(attempt, store, store.folder(cell), events, stop)
    with store.lock(cell) as folder:
        try:
            record = _run(attempt, store, folder, events, stop)
        except TimeoutReached as error:
            record = attempt.record("timeout", error=_report(error))
            _leave(record, attempt, store)
        except (InterruptedRun, KeyboardInterrupt):
            raise
        except Exception as error:
            status: Status = "diverged" if isinstance(error, DivergedError) else "failed"
            record = attempt.record(status, error=_report(error))
            # A folder that cannot be written keeps what it has; the first error is the one to tell.
            with suppress(FerbenchError):
                _leave(record, attempt, store)
    registry().notify("ferbench_run_finished", cell=dict(job.cell), record=record.model_dump(mode="json"))
    return record


def _leave(record: Record, attempt: Attempt, store: RunStore) -> None:
    if attempt.finished is None:
        store.write_result(record.cell, record)


def _run(attempt: Attempt, store: RunStore, folder: Path, events: Events, stop: Stop) -> Record:
    _make_deterministic(attempt.device)
    if attempt.resolved.test_set is not None:
        return evaluate_elsewhere(attempt, attempt.resolved.test_set, store, folder, events)
    return _train(attempt, store, folder, events, stop)


def _train(attempt: Attempt, store: RunStore, folder: Path, events: Events, stop: Stop) -> Record:
    resolved, cell = attempt.resolved, attempt.resolved.cell
    split = split_of(resolved)
    done = finished_record(store, resolved, split.fingerprints)
    if done is not None and attempt.job.needs_model and not has_model(store, done):
        events({"kind": "notice", "text": "the model of its record is not there or another; it is trained again"})
        attempt.finished, done = done, None
    if done is not None:
        if done.plugin.source_hash != stamp("methods", cell.method).source_hash:
            events({"kind": "notice", "text": f"the code of '{cell.method}' has changed since this record was made"})
        return done
    for text in split.pool.left_out() if split.pool else ():
        events({"kind": "notice", "text": f"pool '{cell.pool_name}': {text}"})
    if attempt.processes.rank == 0:
        registry().notify("ferbench_run_started", cell=dict(attempt.job.cell), folder=folder)
    trainer = attempt.trainer = _trainer(attempt, split, folder, events, stop)
    trainer.run()
    predictions, result = _result(trainer, resolved, split)
    record = attempt.record("ok", result)
    if attempt.processes.rank > 0:
        return record
    write_atomic(folder / MODEL, model_bytes(trainer.method.evaluation_net(), trainer.task.class_names))
    if attempt.finished is not None and attempt.finished.result == result:
        record = attempt.finished
    else:
        store.write_result(cell, record, predictions, trainer.progress.history)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def _trainer(attempt: Attempt, split: Split, folder: Path, events: Events, stop: Stop) -> Trainer:
    resolved, job = attempt.resolved, attempt.job
    net = build_network(resolved, attempt.initial_weights(), attempt.device)
    task = build_task(resolved, split, net, attempt.device)
    n_unlabeled = None if task.unlabeled is None else len(task.unlabeled)
    info = method_info(resolved, net, len(task.labeled), n_unlabeled, split.plan.labeled_counts)
    method, teacher = build_method(resolved, net, info, attempt.device, attempt.processes)
    if resolved.wants_boxes and (text := _missing_boxes(resolved, split)):
        events({"kind": "notice", "text": text})
    cell = dict(job.cell)

    def forward(event):  # type: ignore[no-untyped-def]
        if event["kind"] == "epoch" and attempt.processes.rank == 0:
            registry().notify("ferbench_epoch_finished", cell=cell, epoch=event)
        events(event)

    arithmetic = [resolved.cell.precision, device_name(attempt.device), job.threads, job.processes]
    run = run_identity(resolved, resolved_config(resolved), split, arithmetic)
    return Trainer(
        method,
        teacher,
        resolved.recipe,
        task,
        info,
        seed=derive(resolved.cell.seed, "training"),
        identity=digest([resolved.cell.cell_id, run]),
        checkpoint_path=folder / CHECKPOINT,
        stage_cache=StageCache(cache_root() / "stages", run, partial(shared_identity, resolved, split, arithmetic)),
        precision=resolved.cell.precision,
        began=attempt.began,
        events=forward,
        stop=stop,
        processes=attempt.processes,
    )


def _missing_boxes(resolved: Resolved, split: Split) -> str | None:
    """What stands for the face boxes that the data set lacks."""
    found = split.packed.box_sources(split.plan.labeled)
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


def _result(trainer: Trainer, resolved: Resolved, split: Split) -> tuple[Predictions, Result]:
    task, net, history = trainer.task, trainer.method.evaluation_net(), trainer.progress.history
    logits = stored_logits(logits_of(net, task.test, task.maker, resolved.recipe.evaluation_batch))
    predictions = Predictions(list(task.test.ids), task.test.labels.cpu().numpy(), logits)
    metrics, confusion = evaluate(logits, predictions.labels, task.class_names)
    result = Result(
        class_names=list(task.class_names),
        metrics=metrics,
        confusion=confusion,
        n_test=len(task.test),
        n_labeled=len(task.labeled),
        n_relabeled=len(set(split.relabeled.labeled) - set(split.plan.labeled)) if split.relabeled else None,
        n_unlabeled=None if task.unlabeled is None else len(task.unlabeled),
        n_near_duplicates=split.pool.near_duplicates if split.pool else None,
        labeled_counts=split.plan.labeled_counts,
        fingerprints=split.fingerprints,
        predictions_digest=predictions.digest(),
        history_digest=digest(history),
        model_digest=hashlib.sha256(model_bytes(trainer.method.evaluation_net(), trainer.task.class_names)).hexdigest(),
        oracle=_oracle(trainer, resolved.protocol.headline),
        steps=resolved.recipe.steps,
        image_passes=trainer.progress.image_passes,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
    )
    return predictions, result


def _oracle(trainer: Trainer, headline: str) -> Oracle:
    rows = [row for row in trainer.progress.history if "evaluation" in row]
    best = max(rows, key=lambda row: (row["evaluation"][headline], -row["step"]))
    return Oracle(**best["evaluation"], step=best["step"] - trainer.extra_steps, evaluations=len(rows))


def _report(error: Exception) -> ErrorReport:
    return ErrorReport(
        type=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
    )
