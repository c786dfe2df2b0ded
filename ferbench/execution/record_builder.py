"""What one process does to a cell, as a record: with a result, with the reason of its failure, or one from before."""

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from ferbench.cells.code_stamps import stamp, stamps
from ferbench.cells.resolve import ResolvedCell
from ferbench.contract.executor import INLINE, Job
from ferbench.contract.method import Processes
from ferbench.contract.protocol import TUNED
from ferbench.errors import DataError
from ferbench.execution.provenance import cpu_seconds, device_name, environment, git_state, peak_memory
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.options_v1 import config_of_today
from ferbench.records.schema import ErrorReport, Fingerprints, Measured, Record, RecordConfig, Result, Status
from ferbench.records.store import RunStore
from ferbench.training.loop import Training
from ferbench.training.model_file import MODEL, is_model
from ferbench.training.run import RunProgress


@dataclass
class RecordBuilder:
    """One process's work on a cell: enough to write its record, or the record of its failure."""

    job: Job
    resolved: ResolvedCell
    device: torch.device
    processes: Processes = field(default_factory=Processes)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    began: float = field(default_factory=time.monotonic)
    training: Training | None = None
    """What has begun to train, whose time and memory are measured."""
    tested: Record | None = None
    """The record of the model that is tested on another set, which says how it was trained."""
    finished: Record | None = None
    """The cell's record where it is trained again for its model alone; no failure replaces it."""

    def measured(self) -> Measured:
        """Time and memory so far; training and wall time over all attempts."""
        progress = RunProgress(wall_seconds=time.monotonic() - self.began)
        if self.training:
            self.training.watch.count_wall_time()
            progress = self.training.progress
        seconds = progress.train_seconds
        return Measured(
            started_at=self.started_at,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_seconds=round(progress.wall_seconds, 3),
            cpu_seconds=round(cpu_seconds(), 3),
            train_seconds=round(seconds, 3),
            data_wait_seconds=round(progress.data_wait_seconds, 3),
            images_per_second=round(progress.image_passes / seconds, 2) if seconds else 0.0,
            peak_memory_bytes=peak_memory(self.device),
            threads=self.job.threads,
            processes=self.job.processes,
            device=device_name(self.device),
            executor=self.job.executor,
            resumed=progress.resumed,
        )

    def record(self, status: Status, result: Result | None = None, error: ErrorReport | None = None) -> Record:
        """The record of this attempt."""
        resolved, cell = self.resolved, self.resolved.cell
        config, selection = self._config(), self._selection()
        standard = resolved.standard and selection == resolved.protocol.selection
        return Record(
            status=status,
            cell=cell,
            cell_id=cell.cell_id,
            standard=standard and self.job.executor != INLINE,
            config=config,
            result=result,
            measured=self.measured(),
            plugin=stamp(resolved.registry, "methods", cell.method),
            plugins=stamps(resolved.registry, cell),
            engine_version=ENGINE_VERSION,
            environment=environment(self.device),
            git=git_state(),
            selection=selection,
            headline=resolved.protocol.headline,
            error=error,
        )

    def _config(self) -> RecordConfig:
        """The resolved configuration, with the optimizers that have trained."""
        config = resolved_config(self.resolved)
        if self.tested is not None:
            return config.model_copy(update={"optimizers": self.tested.config.optimizers})
        used = self.training.progress.optimizers if self.training else {}
        return RecordConfig.model_validate({**config.model_dump(mode="json"), "optimizers": used})

    def _selection(self) -> str:
        """What is evaluated; a method that says it is the teacher, and evaluates another net, is not believed."""
        rule, said = self.resolved.protocol.selection, self.resolved.selection
        if self.tested is not None:
            return self.tested.selection
        if self.training is None or said != rule:
            return said
        run = self.training.run
        return rule if run.method.evaluation_net() is run.teacher.net else "another net than the EMA model"

    def initial_weights(self) -> Path | None:
        """The file of initial weights, None for none; raises DataError where it is not the planned one any more."""
        if self.job.init is None:
            return None
        path = Path(self.job.init)
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != self.resolved.cell.init:
            raise DataError(f"{path}: has changed since the run was planned ({found}); start the command again")
        return path


def resolved_config(resolved: ResolvedCell) -> RecordConfig:
    """Every field with the value that the cell runs with."""
    recipe = resolved.recipe.model_dump(mode="json", exclude={*TUNED, "backbone"})
    protocol, joint = resolved.protocol, resolved.declared.joint_forward
    return RecordConfig(
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


def finished_record(
    store: RunStore,
    resolved: ResolvedCell,
    fingerprints: Fingerprints | None,
    base: Record | None = None,
    executor: str = "",
) -> Record | None:
    """The record of an equal run: same cell, data, configuration and engine; a changed default is another run.

    What is tested on another set must have been tested with the model of the `base` cell's record. What was run inline
    does not stand for a standard run of another executor.
    """
    if not store.is_done(resolved.cell, fingerprints):
        return None
    record = store.read(resolved.cell)
    if record is None or record.engine_version != ENGINE_VERSION:
        return None
    if config_of_today(record).model_copy(update={"optimizers": {}}) != resolved_config(resolved):
        return None
    if record.measured.executor == INLINE != executor and resolved.standard:
        return None
    return record if resolved.test_set is None or _model_of(record) == _model_of(base) else None


def has_model(store: RunStore, record: Record | None) -> bool:
    """Whether the model of a finished record lies beside it."""
    digest = _model_of(record)
    return record is not None and digest is not None and is_model(store.folder(record.cell) / MODEL, digest)


def _model_of(record: Record | None) -> str | None:
    return record.result.model_digest if record and record.result else None
