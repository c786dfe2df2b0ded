"""One cell from its description to its record on disk."""

import hashlib
import os
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from ferbench.contract.executor import Job
from ferbench.contract.method import Processes
from ferbench.contract.protocol import TUNED
from ferbench.data.pack import cache_root
from ferbench.data.packed import CENTRAL_BOX
from ferbench.data.seeds import derive
from ferbench.errors import DataError, FerbenchError, InterruptedRun
from ferbench.plugins import registry
from ferbench.records.cell import Cell, digest
from ferbench.records.metrics import evaluate
from ferbench.records.schema import Config, ErrorReport, Measured, Oracle, PluginStamp, Record, Result, Status
from ferbench.records.store import Predictions, RunStore, write_atomic
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes
from ferbench.training.engine import ENGINE_VERSION, DivergedError, Events, Stop, Trainer
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.identity import run_identity, shared_identity
from ferbench.training.processes import join_processes, own_device
from ferbench.training.provenance import (
    cpu_seconds,
    device_name,
    environment,
    git_state,
    named_parts,
    peak_memory,
    stamp,
)
from ferbench.training.resolution import Resolved, resolve
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Split, build_method, build_network, build_task, split_of

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"


class TimeoutReached(FerbenchError):
    """The cell used up its time; its checkpoint is saved."""


@dataclass
class Attempt:
    """One process's work on a cell: enough to write its record, or the record of its failure."""

    job: Job
    resolved: Resolved
    device: torch.device
    processes: Processes = field(default_factory=Processes)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    began: float = field(default_factory=time.monotonic)
    trainer: Trainer | None = None

    def measured(self) -> Measured:
        """Time and memory so far; training and wall time over all attempts."""
        progress = self.trainer.progress if self.trainer else None
        train_seconds = progress.train_seconds if progress else 0.0
        if self.trainer:
            self.trainer.count_time()
        passes = progress.image_passes if progress else 0
        return Measured(
            started_at=self.started_at,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_seconds=round(progress.wall_seconds if progress else time.monotonic() - self.began, 3),
            cpu_seconds=round(cpu_seconds(), 3),
            train_seconds=round(train_seconds, 3),
            data_wait_seconds=round(progress.data_wait_seconds if progress else 0.0, 3),
            images_per_second=round(passes / train_seconds, 2) if train_seconds else 0.0,
            peak_memory_bytes=peak_memory(self.device),
            threads=self.job.threads,
            processes=self.job.processes,
            device=device_name(self.device),
            resumed=progress.resumed if progress else 0,
        )

    def record(self, status: Status, result: Result | None = None, error: ErrorReport | None = None) -> Record:
        """The record of this attempt."""
        resolved, cell = self.resolved, self.resolved.cell
        return Record(
            status=status,
            cell=cell,
            cell_id=cell.cell_id,
            standard=resolved.standard,
            config=resolved_config(resolved),
            result=result,
            measured=self.measured(),
            plugin=stamp("methods", cell.method),
            plugins=_stamps(resolved),
            engine_version=ENGINE_VERSION,
            environment=environment(self.device),
            git=git_state(),
            selection=resolved.protocol.selection,
            headline=resolved.protocol.headline,
            error=error,
        )


def resolved_config(resolved: Resolved) -> Config:
    """Every field with the value that the cell runs with."""
    recipe = resolved.recipe.model_dump(mode="json", exclude={*TUNED, "backbone"})
    protocol, joint = resolved.protocol, resolved.declared.joint_forward
    return Config(
        protocol={
            "name": protocol.name,
            "split_rule": protocol.split_rule,
            **({"folds": protocol.folds} if protocol.folds else {}),
            **recipe,
            "joint_forward": recipe["joint_forward"] if joint is None else joint,
        },
        method=resolved.config.model_dump(mode="json"),
        head=dict(resolved.head_options),
    )


def finished_record(store: RunStore, resolved: Resolved, fingerprints: Mapping[str, str]) -> Record | None:
    """The record of an equal run: same cell, data, configuration and engine; a changed default is another run."""
    if not store.is_done(resolved.cell, fingerprints):
        return None
    record = store.read(resolved.cell)
    if record is None or record.engine_version != ENGINE_VERSION or record.config != resolved_config(resolved):
        return None
    return record


def _stamps(resolved: Resolved) -> dict[str, PluginStamp]:
    parts = named_parts(resolved.cell)
    del parts["method"]  # has a field of its own
    known = registry().entries
    return {role: stamp(kind, name) for role, (kind, name) in parts.items() if name in known.get(kind, {})}


def run_cell(job: Job, events: Events, stop: Stop) -> Record:
    """Run a cell, or take it up where its checkpoint stands; returns the record that is now on disk.

    A cell that fails leaves a record with its reason. What stops it from outside (Ctrl-C, timeout) is raised after
    its checkpoint is saved. Of several processes the first alone locks and writes.
    """
    cell = Cell.model_validate(dict(job.cell))
    torch.set_num_threads(job.threads)
    device = own_device(job.device, job.processes)
    attempt = Attempt(job, resolve(cell, job.dataset, job.pool), device, join_processes(device, job.processes))
    store = RunStore(job.runs)
    if attempt.processes.rank > 0:
        return _run(attempt, store, store.folder(cell), events, stop)
    with store.lock(cell) as folder:
        try:
            record = _run(attempt, store, folder, events, stop)
        except TimeoutReached as error:
            record = attempt.record("timeout", error=_report(error))
            store.write_result(cell, record)
        except (InterruptedRun, KeyboardInterrupt):
            raise
        except Exception as error:
            status: Status = "diverged" if isinstance(error, DivergedError) else "failed"
            record = attempt.record(status, error=_report(error))
            # A folder that cannot be written keeps what it has; the first error is the one to tell.
            with suppress(FerbenchError):
                store.write_result(cell, record)
    registry().notify("ferbench_run_finished", cell=dict(job.cell), record=record.model_dump(mode="json"))
    return record


def _run(attempt: Attempt, store: RunStore, folder: Path, events: Events, stop: Stop) -> Record:
    resolved, cell = attempt.resolved, attempt.resolved.cell
    _make_deterministic(attempt.device)
    split = split_of(resolved)
    if (done := finished_record(store, resolved, split.fingerprints)) is not None:
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
    write_atomic(folder / MODEL, _model_bytes(trainer))
    store.write_result(cell, record, predictions, trainer.progress.history)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def _trainer(attempt: Attempt, split: Split, folder: Path, events: Events, stop: Stop) -> Trainer:
    resolved, job = attempt.resolved, attempt.job
    net = build_network(resolved, _initial_weights(attempt), attempt.device)
    task = build_task(resolved, split, net, attempt.device)
    method, teacher, info = build_method(resolved, net, task, split.plan, attempt.processes)
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


def _initial_weights(attempt: Attempt) -> Path | None:
    if attempt.job.init is None:
        return None
    path = Path(attempt.job.init)
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if found != attempt.resolved.cell.init:
        raise DataError(f"{path}: has changed since the run was planned ({found}); start the command again")
    return path


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
        model_digest=hashlib.sha256(_model_bytes(trainer)).hexdigest(),
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


def _model_bytes(trainer: Trainer) -> bytes:
    model = Checkpoint(state={"class_names": list(trainer.task.class_names)})
    model.tensors = dict(trainer.method.evaluation_net().state_dict())
    return checkpoint_bytes(model)


def _report(error: Exception) -> ErrorReport:
    return ErrorReport(
        type=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
    )
