"""Runs one cell from its description to its record on disk, in a process without the method's code.

It chooses the rows, lets a trainer train on them, and joins the labels that the trainer did not get.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ferbench.cells.code_stamps import stamp
from ferbench.cells.method_plan import MethodPlan
from ferbench.cells.resolve import ResolvedCell, resolve
from ferbench.cells.select import CellData, DataNeeds, select
from ferbench.contract.events import Event, Finished, Notice, Started
from ferbench.contract.executor import Job
from ferbench.data.load.image_store import CENTRAL_BOX
from ferbench.data.select.cross_test import CrossTest
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError, InterruptedRun, PluginError, UsageError
from ferbench.execution.endings import finished, unfinished
from ferbench.execution.handover import TEST, CellFacts, ImageRows, TrainerReport, hand_over
from ferbench.execution.join import cross_test_result, trained_result
from ferbench.execution.record_builder import RecordBuilder, error_report, finished_record, has_model
from ferbench.execution.rows import facts_of, rows_of_tests, training_rows
from ferbench.records.cell import Cell
from ferbench.records.cell_log import CellLog
from ferbench.records.files import file_digest
from ferbench.records.in_progress import IN_PROGRESS
from ferbench.records.lease import Lease, LeaseLostError, is_held, seconds
from ferbench.records.reproduction import Sources
from ferbench.records.schema import Record
from ferbench.records.store import MODEL, RunStore

Events = Callable[[Event], None]
Stop = Callable[[], FerbenchError | None]
"""Called again and again. It returns None, or the reason to save and leave."""

CANCELLED = "cancelled; run the same command again to continue"
LOOK_SECONDS = 0.2
"""Seconds between two checks whether the cell was taken over or cancelled."""

Trainer = Callable[[Job, Path, Events, Stop, Callable[[], None]], TrainerReport]
"""Trains or tests the cell whose rows are in a folder. It calls its last argument to get the rows of test images."""


def run_cell(
    job: Job,
    registry: Registry,
    events: Events,
    stop: Stop,
    trainer: Trainer | None = None,
    *,
    begins_again: bool = False,
) -> Record:
    """Run a cell, or continue it from its checkpoint. Returns the record that is now on disk.

    Without a `trainer` this process trains. If an earlier process has the cell's lease, this waits to see whether that
    process has ended. With `begins_again` the earlier process is the cell's own, so this also waits while it still
    saves. A cell that fails leaves a record with its reason. If the cell is stopped from outside (Ctrl-C, timeout), its
    checkpoint is saved and the reason is raised.
    """
    cell = Cell.model_validate(dict(job.cell))
    resolved = resolve(cell, registry, sources_of(job))
    builder = RecordBuilder(job, resolved, MethodPlan.model_validate(dict(job.plan)))
    store = RunStore(job.runs)

    with store.lock(cell, _taking(store, cell, events, stop, begins_again)) as lease:
        log = CellLog(lease.folder)

        def tell(event: Event) -> None:
            log(event)
            events(event)

        log(Started(config=builder.plan.config.model_dump(mode="json", exclude_defaults=True)))
        run = _CellRun(builder, store, lease, tell, stop, trainer or _trainer_here(registry))
        try:
            record = run.record()
        except KeyboardInterrupt:
            log(Finished(status="interrupted"))
            raise
        except Exception as error:
            if lost := _loss(lease, error):  # nothing is said in the log, which is the successor's now
                lease.withdraw(IN_PROGRESS)
                raise lost from None
            if isinstance(error, InterruptedRun):
                log(unfinished(error))
                raise
            record = builder.record("failed", error=error_report(error))
            # If the folder is not writable, report the original error.
            with suppress(FerbenchError):
                run.leave(record)
        log(finished(record))
        return record


def _loss(lease: Lease, error: Exception) -> LeaseLostError | None:
    """The loss of the lease, which may show itself by another error: the successor has renamed the working folder."""
    if isinstance(error, LeaseLostError):
        return error
    try:
        lease.check()
    except LeaseLostError as lost:
        return lost
    return None


def _taking(store: RunStore, cell: Cell, events: Events, stop: Stop, begins_again: bool) -> Callable[[Lease], object]:
    """Return the function that takes the lease of a cell."""

    def stop_waiting() -> FerbenchError | None:
        return InterruptedRun(CANCELLED) if store.is_cancelled(cell) else stop()

    def take(lease: Lease) -> None:
        if is_held(lease.path):
            text = f"another process works on this cell; waiting up to {seconds():g} s to see whether it has ended"
            events(Notice(text=text))
        lease.outlast(stop_waiting, signs_count=not begins_again)

    return take


def sources_of(job: Job) -> Sources:
    """The paths of the things that the cell knows only by name or hash."""
    return Sources(job.dataset, job.pool, job.init, job.test_on)


def _trainer_here(registry: Registry) -> Trainer:
    def train_here(job: Job, folder: Path, events: Events, stop: Stop, tests: Callable[[], None]) -> TrainerReport:
        from ferbench.execution.train_cell import train_cell  # imports torch, which a supervisor does not need

        return train_cell(job, registry, folder, events, stop, tests)

    return train_here


@dataclass
class _CellRun:
    """The work on one cell, whose folder is locked."""

    builder: RecordBuilder
    store: RunStore
    lease: Lease
    events: Events
    stop: Stop
    trainer: Trainer
    cancelled: bool = False
    look_again: float = 0.0
    """The time of the next check whether the cell was taken over or cancelled. It is not checked at each step."""
    finished: Record | None = None
    """The existing record, if the cell is trained again only for its model. No failure replaces it."""

    def record(self) -> Record:
        """The cell's record: from an equal earlier run, or from this one."""
        plan = self.builder.plan
        if self.store.is_cancelled(self.builder.resolved.cell):
            raise InterruptedRun(CANCELLED)
        data = select(self.builder.resolved, needs=DataNeeds(plan.boxes, plan.relabeled))
        return self._train(data) if data.cross_test is None else self._test(data, data.cross_test)

    def leave(self, record: Record) -> Record:
        """Write the record of a failure."""
        if self.finished is None:
            self.store.write_result(record.cell, record)
        return record

    def _train(self, data: CellData) -> Record:
        builder, plan, resolved = self.builder, self.builder.plan, self.builder.resolved
        done = finished_record(self.store, resolved, plan, data.fingerprints, executor=builder.job.executor)
        if done is not None and builder.job.needs_model and not has_model(self.store, done):
            self._tell("the model of its record is missing or has changed; it is trained again")
            self.finished, done = done, None
        if done is not None:
            if done.plugin.source_hash != stamp(resolved.registry, "methods", resolved.cell.method).source_hash:
                self._tell(f"the code of '{resolved.cell.method}' has changed since this record was made")
            self.store.clear(resolved.cell)  # left by a process that was killed after it wrote the record
            return done
        for text in data.pool.left_out() if data.pool else ():
            self._tell(f"pool '{resolved.cell.pool_name}': {text}")
        if plan.boxes and (missing := missing_boxes(resolved, data)):
            self._tell(missing)
        chosen = training_rows(resolved, data, unlabeled=plan.unlabeled, everything=plan.everything)
        tested, order = rows_of_tests(data.images, data.selection.test)
        facts = facts_of(data, chosen, builder.began)
        report = self._report(data, facts, chosen.rows, tested)
        if report.trained is None:
            return self.leave(builder.record(report.status, error=report.error))
        joined = trained_result(resolved, data, chosen, report.trained, self.work, order)
        record = builder.record("ok", joined.result)
        self.lease.check()
        os.replace(self.work / MODEL, self.folder / MODEL)
        if self.finished is not None and self.finished.result == joined.result:
            record = self.finished
        else:
            self.store.write_result(record.cell, record, joined.predictions, joined.history)
        self.store.clear(resolved.cell)
        return record

    def _test(self, data: CellData, test: CrossTest) -> Record:
        """Test the model of the base cell on another dataset; nothing is trained."""
        builder, plan, resolved, store = self.builder, self.builder.plan, self.builder.resolved, self.store
        base, executor = resolved.base, builder.job.executor
        trained = finished_record(store, base, plan, data.trained, executor=executor)
        if trained is None or trained.result is None:
            folder = store.folder(base.cell)
            raise UsageError(f"{folder} has no finished record, whose model would be tested; run it first")
        done = finished_record(store, resolved, plan, data.fingerprints, trained, executor)
        if done is not None:
            store.clear(resolved.cell)
            return done
        builder.tested = trained
        for text in test.notes():
            self._tell(f"'{resolved.cell.test_on}' {text}")
        tested, order = rows_of_tests(test.images, test.rows)
        facts = CellFacts.of_trained(trained.result, data.trained, store.folder(base.cell) / MODEL, builder.began)
        report = self._report(data, facts, {}, tested)
        if report.error is not None:
            return self.leave(builder.record(report.status, error=report.error))
        joined = cross_test_result(resolved, data, test, trained.result, self.work, order)
        record = builder.record("ok", joined.result)
        store.write_result(record.cell, record, joined.predictions, joined.history)
        store.clear(resolved.cell)
        return record

    def _report(
        self, data: CellData, facts: CellFacts, rows: Mapping[str, ImageRows], tested: ImageRows
    ) -> TrainerReport:
        hand_over(self.work, facts.model_copy(update={"lease": self.lease.token}), rows)
        job, events = self.builder.job, self.events
        handed: list[str] = []

        def tests() -> None:
            # A method that found the pipe could ask before the net exists, and train on the test images.
            if facts.model is not None or (self.work / MODEL).is_file():
                handed.append(facts.model_digest or file_digest(self.work / MODEL))
                tested.write(self.work / TEST)

        try:
            report = self.trainer(job, self.work, events, self._stop, tests)
        except SystemExit:  # the trainer has died, perhaps because a successor has renamed its folder
            self.lease.check()
            raise
        if report.trained is not None and {file_digest(self.work / MODEL)} != set(handed):
            raise PluginError(
                f"method '{job.cell['method']}': the net has changed since the test images were given out"
            )
        self.builder.take(report)
        if report.error is None:
            data.check()  # whether the data that was read during the run is still the data of its start
        return report

    def _stop(self) -> FerbenchError | None:
        if (now := time.monotonic()) >= self.look_again:
            self.look_again = now + LOOK_SECONDS
            self.lease.check()
            self.cancelled |= self.store.is_cancelled(self.builder.resolved.cell)
        return InterruptedRun(CANCELLED) if self.cancelled else self.stop()

    def _tell(self, text: str) -> None:
        self.events(Notice(text=text))

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.lease.folder

    @property
    def work(self) -> Path:
        """The folder of the rows and of the trainer's files."""
        return self.lease.working_folder(IN_PROGRESS)


def missing_boxes(resolved: ResolvedCell, data: CellData) -> str | None:
    """A sentence about the face boxes that the dataset lacks and what replaces them; None if none is missing."""
    found = data.images.box_sources(data.selection.labeled)
    missing, detected, size = found["detected"] + found["central"], found["detected"], resolved.recipe.packed_size
    if not missing:
        return None
    sides = ", ".join(f"{side * size:.1f}" for side in CENTRAL_BOX)
    by_detector = f"; {detected} have one that the detector found, " if detected else "; "
    rest = f"{found['central']} get the central one ({sides}) of {size} pixels"
    hint = "" if detected else f" (`ferbench boxes {resolved.cell.dataset}` looks for faces)"
    return f"{missing} labeled images of '{resolved.cell.dataset}' have no face box{by_detector}{rest}{hint}"
