"""Builds the record of a process's work on a cell: a result, the reason of a failure, or an earlier record."""

import os
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ferbench.cells.code_stamps import stamp, stamps, tuning_stamps
from ferbench.cells.method_plan import MethodPlan
from ferbench.cells.resolve import ResolvedCell
from ferbench.contract.executor import INLINE, Job
from ferbench.discovery.foreign_code import text_of
from ferbench.execution.handover import TrainerReport
from ferbench.execution.provenance import environment, git_state
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.options_v1 import config_of_today
from ferbench.records.schema import ErrorReport, Fingerprints, Measured, Record, RecordConfig, Result, Status
from ferbench.records.store import MODEL, RunStore, is_model


@dataclass
class RecordBuilder:
    """One process's work on a cell: all that is needed to write its record, with a result or a failure."""

    job: Job
    resolved: ResolvedCell
    plan: MethodPlan
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    began: float = field(default_factory=time.monotonic)
    report: TrainerReport | None = None
    """The trainer's report, once there is one."""
    reported: float = 0.0
    """When that was."""
    tested: Record | None = None
    """The record of the model that is tested on another dataset; it says how the model was trained."""

    def take(self, report: TrainerReport) -> None:
        """Take over the values of the trainer's report."""
        self.report, self.reported = report, time.monotonic()

    def record(self, status: Status, result: Result | None = None, error: ErrorReport | None = None) -> Record:
        """The record of this attempt."""
        resolved, cell, report = self.resolved, self.resolved.cell, self.report
        selection = self._selection()
        standard = self.plan.standard and selection == resolved.protocol.selection
        return Record(
            status=status,
            cell=cell,
            cell_id=cell.cell_id,
            standard=standard and self.job.executor != INLINE,
            config=self._config(),
            result=result,
            measured=self._measured(),
            plugin=stamp(resolved.registry, "methods", cell.method, cell.variant),
            plugins=stamps(resolved.registry, cell),
            tunings=tuning_stamps(resolved),
            engine_version=ENGINE_VERSION,
            environment=report.environment if report else environment(),
            git=git_state(),
            selection=selection,
            headline=resolved.protocol.headline,
            error=error,
        )

    def _config(self) -> RecordConfig:
        """The resolved configuration, with the optimizers that were used."""
        config = self.report.config if self.report else self.plan.config
        return config.model_copy(update={"optimizers": self.tested.config.optimizers}) if self.tested else config

    def _selection(self) -> str:
        """Which model is evaluated, according to the trainer."""
        if self.tested is not None:
            return self.tested.selection
        return self.report.selection if self.report else self.plan.selection

    def _measured(self) -> Measured:
        """The trainer's measurements, and the wall and processor time of this process."""
        now = time.monotonic()
        measured = self.report.measured if self.report else unmeasured(self.job)
        more = now - self.reported if self.report else now - self.began
        times = os.times()
        update = {
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(measured.wall_seconds + more, 3),
            "cpu_seconds": round(measured.cpu_seconds + times.user + times.system, 3),
        }
        return measured.model_copy(update=update)


def unmeasured(job: Job) -> Measured:
    """The known values of a run that has not begun to train."""
    return Measured(started_at="", threads=job.threads, processes=job.processes, executor=job.executor)


def error_report(error: BaseException) -> ErrorReport:
    """An exception in the form in which records hold it."""
    return ErrorReport(
        type=type(error).__name__,
        message=text_of(error),
        traceback="".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode("utf-8"),
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
    )


def finished_record(
    store: RunStore,
    resolved: ResolvedCell,
    plan: MethodPlan,
    fingerprints: Fingerprints | None,
    base: Record | None = None,
    executor: str = "",
) -> Record | None:
    """An earlier record with the same cell, data, configuration and engine, or None. A changed default is a difference.

    A test on another dataset must have used the model of the `base` cell's record. An inline run does not count as a
    standard run of another executor.
    """
    if not store.is_done(resolved.cell, fingerprints):
        return None
    record = store.read(resolved.cell)
    if record is None or record.engine_version != ENGINE_VERSION:
        return None
    if config_of_today(record).model_copy(update={"optimizers": {}}) != plan.config:
        return None
    if record.measured.executor == INLINE != executor and plan.standard:
        return None
    return record if resolved.test_set is None or _model_of(record) == _model_of(base) else None


def has_model(store: RunStore, record: Record | None) -> bool:
    """Whether the model of a finished record is next to it."""
    digest = _model_of(record)
    return record is not None and digest is not None and is_model(store.folder(record.cell) / MODEL, digest)


def _model_of(record: Record | None) -> str | None:
    return record.result.model_digest if record and record.result else None
