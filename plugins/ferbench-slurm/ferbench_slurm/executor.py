"""Runs cells as tasks of job arrays. Submits them, watches their files in the runs folder, and resubmits lost ones."""

import math
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ferbench import EventTail, crash_record
from ferbench.contract.events import Event, Finished, Notice
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.errors import ExecutorError, UsageError
from ferbench_slurm.options import SlurmOptions
from ferbench_slurm.scheduler import Task, TaskState, cancel, largest_array, task_states
from ferbench_slurm.submission import submit
from ferbench_slurm.sweep import Sweep, cell_key

LOOK_SECONDS, ASK_SECONDS = 1.0, 5.0
"""Seconds between two reads of event files, and between two questions to SLURM."""
LATE_SECONDS = 60.0
"""Seconds that a job may take to end after its cells have ended."""
LAST_BYTES = 100_000

T = TypeVar("T")


@dataclass
class _Cell:
    """A job of ferbench, and where its events are."""

    job: Job
    number: int
    task: Task | None = None
    tail: EventTail | None = None
    begun: bool = False
    interrupted: Finished | None = None
    """Its last event, if it was interrupted and has not continued."""
    times_lost: int = 0
    status: str = ""


class SlurmExecutor(Executor):
    """Jobs go on when this process ends. The same command finds them and watches them again."""

    Options = SlurmOptions
    options: SlurmOptions

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        """A job that runs several cells one after another counts as one place."""
        largest_array()  # raises an error if SLURM does not answer
        if jobs and self.options.gres and re.fullmatch(r"cuda:[1-9]\d*", jobs[0].device):
            raise UsageError(
                f"--device {jobs[0].device}: SLURM chooses the GPUs of each cell by gres={self.options.gres}; write "
                "--device cuda"
            )
        return min(wanted or 1, max(1, math.ceil(len(jobs) / self.options.group_size)))

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        if not jobs:
            return []
        watch = _Watch(self.options, jobs, progress, slots)
        watch.find_running()
        watch.submit([cell for cell in watch.cells if cell.task is None], probe=True)
        if self.options.detach:
            watch.say("the jobs go on without this command; the same command without detach watches them")
            return ["missing"] * len(jobs)
        try:
            watch.until_done()
        except KeyboardInterrupt:
            watch.say(f"the jobs go on; the same command watches them again, `{watch.cancelling}` ends them")
            raise
        with suppress(ExecutorError):  # cells that are done do not need SLURM
            watch.clean_up()
        return [cell.status for cell in watch.cells]


class _Watch:
    """The cells of one run, and the sweep in which they are submitted."""

    def __init__(self, options: SlurmOptions, jobs: Sequence[Job], progress: JobListener, slots: int) -> None:
        self.options, self.progress, self.slots = options, progress, slots
        self.largest = largest_array()
        self.cells = [_Cell(job, number) for number, job in enumerate(jobs)]
        self.runs = jobs[0].runs
        self.sweep: Sweep | None = None
        self._probing = False
        self._refused: list[_Cell] = []
        """Cells that SLURM did not accept while others ran."""
        self._needs_probe = False
        self._logs: dict[str, Path] = {}
        """The pattern of the logs of a job's tasks, by the job's name."""
        self._absent: dict[Task, int] = defaultdict(int)
        """How many times in a row a task was missing or over."""
        self._states: dict[Task, TaskState] = {}
        self._job_ids: set[str] = set()
        self._said: set[str] = set()

    @property
    def cancelling(self) -> str:
        """The command that cancels all watched jobs."""
        return f"scancel {' '.join(sorted(self._job_ids))}"

    def say(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self._said:
            self._said.add(text)
            self.progress(self.cells[0].job, Notice(text=text))

    def find_running(self) -> None:
        """Take over cells whose jobs were submitted by an earlier command and have not ended."""
        cells = {cell_key(cell.job): cell for cell in self.cells}
        sweeps = list(Sweep.all_in(self.runs))
        states = task_states(name for sweep in sweeps for name in sweep.plan.arrays) if sweeps else {}
        for sweep in sweeps:
            for name, groups in sweep.plan.arrays.items():
                for index, group in enumerate(groups):
                    state = states.get((name, index), TaskState())
                    if state.is_over:
                        continue
                    for number in group:
                        if (cell := cells.get(sweep.plan.cells[number])) and cell.task is None:
                            self._take_over(cell, EventTail(sweep.events(number)), (name, index))
                            self._job_ids.add(state.job_id)
        if found := sum(cell.task is not None for cell in self.cells):
            self.say(f"{found} of {len(self.cells)} cells were submitted before, and are watched: {self.cancelling}")

    def _take_over(self, cell: _Cell, tail: EventTail, task: Task) -> None:
        told = tail.read()
        if told and isinstance(told[-1], Finished) and told[-1].status != "interrupted":
            return  # it has ended, and must run again
        cell.tail, cell.task = tail, task
        self._hear(cell, told)
        # It is requested again: if its job does not continue it, another one must.
        cell.interrupted = None

    def submit(self, cells: Sequence[_Cell], *, probe: bool = False) -> None:
        """Submit cells. If SLURM refuses some while other jobs of this run go on, they are submitted again later."""
        if not cells:
            return
        for cell in cells:
            cell.task = None
        try:
            self._submit(cells, probe)
        except ExecutorError as error:
            if not any(cell.task and not cell.status for cell in self.cells):
                raise
            self._refused += [cell for cell in cells if cell.task is None]
            self.say(f"{error}; the other jobs go on, and the rest is submitted again later")

    def _submit(self, cells: Sequence[_Cell], probe: bool) -> None:
        """Submit cells in groups: as one array, or as several in a row if SLURM limits the size of arrays."""
        self._needs_probe = probe
        self.sweep = self.sweep or Sweep.create(self.runs, [cell.job for cell in self.cells])
        groups = _parts(cells, self.options.group_size)
        after = []
        if probe:
            after.append(f"afterok:{submit(self.sweep, self.sweep.probe, [{}], self.options).job_id}")
            self._probing = True
        first = list(after)
        for part in _parts(groups, self.largest):
            name = self.sweep.add_array([[cell.number for cell in group] for group in part])
            tasks = [{cell.number: cell.job for cell in group} for group in part]
            try:
                array = submit(self.sweep, name, tasks, self.options, slots=self.slots, dependency=",".join(after))
            except ExecutorError:
                if probe and after == first:
                    self._probing = False
                    cancel([self.sweep.probe])
                raise
            self._needs_probe = False
            after = [*first, f"afterany:{array.job_id}"]  # so that at most `slots` tasks run
            self._logs[name] = array.log
            self._job_ids.add(array.job_id)
            for index, group in enumerate(part):
                for cell in group:
                    cell.task, cell.begun = (name, index), False
                    if cell.tail is None or cell.tail.path != self.sweep.events(cell.number):
                        cell.tail = EventTail(self.sweep.events(cell.number))
            self.say(
                f"SLURM job {array.job_id}: {len(part)} x {len(part[0])} cells, {self.slots} at a time; logs "
                f"{array.log}; `scancel {array.job_id}` ends it"
            )

    def until_done(self) -> None:
        """Pass on events until every cell has a status."""
        ask = time.monotonic()
        while any(not cell.status for cell in self.cells):
            time.sleep(LOOK_SECONDS)
            over: set[Task] = set()
            if time.monotonic() >= ask:
                over = self._ask()
                if self._refused and not self._probing:
                    refused, self._refused = self._refused, []
                    self.submit(refused, probe=self._needs_probe)
                ask = time.monotonic() + ASK_SECONDS
            # Read after SLURM was asked: a job that is over writes nothing more.
            for cell in self.cells:
                if not cell.status and cell.tail and self._may_run(cell.task):
                    self._hear(cell, cell.tail.read())
            lost = [cell for cell in self.cells if not cell.status and cell.task in over]
            self.submit([cell for task in over for cell in self._lost([c for c in lost if c.task == task])])

    def clean_up(self) -> None:
        """Remove the folders of sweeps whose cells are all ok, once their jobs are over, which takes only seconds.

        What is left in the queue then is cancelled: SLURM holds jobs that ended while the controller was restarted.
        """
        found = list(Sweep.all_in(self.runs))
        done = {cell_key(cell.job) for cell in self.cells if cell.status == "ok"}
        for sweep in found:  # sweeps of an earlier command may have more cells than this run
            ends = [sweep.ending(number) for number in range(len(sweep.plan.cells))]
            done |= {key for key, end in zip(sweep.plan.cells, ends, strict=True) if end and end.status == "ok"}
        sweeps = [sweep for sweep in found if done.issuperset(sweep.plan.cells)]
        names, until = [name for sweep in sweeps for name in sweep.plan.arrays], time.monotonic() + LATE_SECONDS
        while names and any(not state.is_over for state in task_states(names).values()) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        if sweeps:
            cancel([*names, *(sweep.probe for sweep in sweeps)])
        for sweep in sweeps:
            shutil.rmtree(sweep.folder, ignore_errors=True)
            with suppress(OSError):  # other sweeps are there
                sweep.folder.parent.rmdir()

    def _names(self) -> list[str]:
        return sorted({cell.task[0] for cell in self.cells if cell.task})

    def _may_run(self, task: Task | None) -> bool:
        return task is not None and self._states.get(task, TaskState()).state != "PENDING"

    def _hear(self, cell: _Cell, events: Iterable[Event]) -> None:
        for event in events:
            cell.begun = True
            cell.interrupted = None
            if not isinstance(event, Finished):
                self.progress(cell.job, event)
            elif event.status == "interrupted":
                cell.interrupted = event  # its job may be requeued
            else:
                self._end(cell, event)

    def _end(self, cell: _Cell, ending: Finished) -> None:
        cell.status = ending.status
        self.progress(cell.job, ending)

    def _ask(self) -> set[Task]:
        """The tasks that are over although some of their cells have not reported an end."""
        names = self._names()
        if self._probing and self.sweep:
            names.append(self.sweep.probe)
        try:
            self._states = task_states(names)
        except ExecutorError as error:  # the controller may be restarting; jobs do not need it
            self.say(f"{error}; the jobs go on")
            return set()
        for state in self._states.values():
            if state.is_stuck:
                self.say(f"SLURM makes a job wait: {state.reason}")
        wanted = {cell.task for cell in self.cells if not cell.status and cell.task}
        if self._probing and self.sweep:
            wanted.add((self.sweep.probe, 0))
        for task in wanted:
            over = self._states.get(task, TaskState()).is_over
            self._absent[task] = self._absent[task] + 1 if over else 0
        if self._probing and self.sweep:
            self._check_probe(self.sweep)
        # Asked twice: a requeued job seems to be over for a moment, and files from another machine may arrive late.
        return {task for task in wanted if self._absent[task] > 1}

    def _check_probe(self, sweep: Sweep) -> None:
        """Raise UsageError if the probe has ended without an answer."""
        sweep.folder.stat()
        if sweep.answer in sweep.folder.iterdir():
            self._probing = False
        elif self._absent[(sweep.probe, 0)] > 1:
            cancel(sweep.plan.arrays)  # not the jobs of an earlier command, which may be watched too
            printed = [path for path in sweep.logs.glob("*_log.out") if path.stat().st_size]
            if printed:
                last = _last_bytes(printed[0]).decode("utf-8", "replace").strip().splitlines()[-1]
                raise ExecutorError(f"a job that only checks the runs folder has failed ({last}); see {printed[0]}")
            raise UsageError(
                f"--runs {self.runs}: the nodes of the cluster do not see this folder (a job that looks for "
                f"{sweep.folder / 'token'} gave no answer); name a folder on a file system that they share"
            )

    def _lost(self, cells: Sequence[_Cell]) -> list[_Cell]:
        """For unended cells of a task that is over: end those that must not be retried, return the others."""
        if not cells or cells[0].task is None:
            return []
        name, index = cells[0].task
        state = self._states.get(cells[0].task, TaskState()).state
        for cell in [cell for cell in cells if cell.begun] or cells:
            cell.times_lost += 1
        again = []
        for cell in cells:
            if cell.interrupted:
                self._end(cell, cell.interrupted)
            elif state == "CANCELLED":
                self._end(cell, Finished(status="interrupted", message="its SLURM job was cancelled"))
            elif state == "OUT_OF_MEMORY" and cell.begun:
                reason = "its SLURM job used more memory than it had; give more with --executor-option mem=..."
                self._end(cell, crash_record(cell.job, reason))
            elif cell.times_lost > self.options.retries:
                reason = f"its SLURM job {name} (task {index}) was lost {cell.times_lost} times, at last {state}"
                self._end(cell, crash_record(cell.job, reason, log=self._printed(name, index)))
            else:
                self.say(f"SLURM job {name} (task {index}) was lost ({state}); its cells are submitted again")
                again.append(cell)
        return again

    def _printed(self, name: str, index: int) -> bytes:
        path = self._logs.get(name)
        return b"" if path is None else _last_bytes(path.with_name(path.name.replace("%a", str(index))))


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _last_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LAST_BYTES))
            return file.read()
    except OSError:
        return b""
