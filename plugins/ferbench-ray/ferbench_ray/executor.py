"""Runs cells as Ray tasks that supervise processes. Ray itself repeats no task, so nothing is tried for ever."""

import math
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from ferbench import EventTail, crash_record
from ferbench.contract.events import Finished, Notice
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.errors import ExecutorError, UsageError
from ferbench_ray.cluster import check_nodes, connected, environment, room_for
from ferbench_ray.options import RayOptions
from ferbench_ray.task import SAVING_SECONDS, Meeting, run_cells

LOOK_SECONDS = 1.0
LATE_SECONDS = 30.0
"""Seconds that a file from another machine may arrive late."""
SILENT = "its Ray task ended without a word"


@dataclass
class _Cell:
    """A job of ferbench, and the latest news of it."""

    job: Job
    number: int
    tail: EventTail
    begun: bool = False
    """Whether its latest task has sent any event."""
    interrupted: Finished | None = None
    """Its last event, if it was interrupted and has not continued."""
    times_lost: int = 0
    status: str = ""


class RayExecutor(Executor):
    """Runs `slots` tasks at a time. Tasks end with this process; with `ray job submit` it can outlive a terminal."""

    Options = RayOptions
    options: RayOptions

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        """Without --jobs: as many as the present nodes of a cluster can run; one for a Ray on this machine."""
        if not jobs:
            return 1
        if re.fullmatch(r"cuda:[1-9]\d*", jobs[0].device):
            raise UsageError(f"--device {jobs[0].device}: Ray chooses the GPU of each cell; write --device cuda")
        room = 1
        if self.options.address or os.environ.get("RAY_ADDRESS"):
            with connected(self.options.address):
                room = room_for(self.options.resources(jobs[0]))
        return min(wanted or room, math.ceil(len(jobs) / self.options.cells_per_task))

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        if not jobs:
            return []
        with connected(self.options.address):
            meeting = Meeting.create(jobs[0].runs)
            try:
                check_nodes(meeting)
                run = _Run(self.options, jobs, progress, meeting)
                run.tell_what_is_missing()
                run.until_done(slots)
                return [cell.status for cell in run.cells]
            finally:
                shutil.rmtree(meeting.folder, ignore_errors=True)
                with suppress(OSError):  # the folders of other commands may be there
                    meeting.folder.parent.rmdir()


class _Run:
    """The cells of one run: those that wait, and those that have a task."""

    def __init__(self, options: RayOptions, jobs: Sequence[Job], progress: JobListener, meeting: Meeting) -> None:
        self.options, self.progress, self.meeting = options, progress, meeting
        self.cells = [_Cell(job, number, EventTail(meeting.events(number))) for number, job in enumerate(jobs)]
        size = options.cells_per_task
        self.waiting = deque(self.cells[first : first + size] for first in range(0, len(jobs), size))
        self.running: dict[Any, list[_Cell]] = {}

    def tell_what_is_missing(self) -> None:
        """Say which resources no node of the cluster has now. Otherwise cells would wait for them silently."""
        wants = self.options.resources(self.cells[0].job)
        for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
            most = max((node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0)
            if wants[key] > most:
                text = f"no node of Ray has {wants[key]:g} {name}s now (at most {most:g}); cells wait for one that has"
                self.progress(self.cells[0].job, Notice(text=text))

    def until_done(self, slots: int) -> None:
        """Run all cells; raises ExecutorError if Ray is gone."""
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < slots:
                    self._start(self.waiting.popleft())
                done, _ = ray.wait(list(self.running), timeout=LOOK_SECONDS)
                for cells in self.running.values():
                    self._hear(cells)
                for task in done:
                    self._finish(self.running.pop(task), task)
        except (ConnectionError, RayError) as error:
            raise ExecutorError(f"Ray is gone ({error}); give the same command again when it is back") from None
        except KeyboardInterrupt:
            self._let_save()
            raise

    def _start(self, cells: list[_Cell]) -> None:
        for cell in cells:
            cell.begun = False
        # max_calls: a Ray process serves one task. max_retries: otherwise Ray would retry a cell without memory for
        # ever.
        wants = self.options.resources(cells[0].job)
        remote = ray.remote(max_calls=1, max_retries=0, runtime_env=environment(), **wants)
        jobs = {cell.number: cell.job for cell in cells}
        order = self.meeting.order(jobs, attempts=1 + self.options.retries)
        self.running[remote(run_cells).remote(order)] = cells

    def _hear(self, cells: Sequence[_Cell]) -> None:
        for cell in cells:
            for event in [] if cell.status else cell.tail.read():
                cell.begun, cell.interrupted = True, None
                if not isinstance(event, Finished):
                    self.progress(cell.job, event)
                elif event.status == "interrupted":
                    cell.interrupted = event
                else:
                    self._end(cell, event)

    def _finish(self, cells: Sequence[_Cell], task: Any) -> None:
        """Read how the cells have ended. If their task was lost, start the others again, a limited number of times."""
        try:
            ray.get(task)
            lost = ""
        except OutOfMemoryError:
            lost = "Ray's memory monitor killed its task; let fewer share a node with --executor-option memory=..."
        except RayTaskError as error:
            lost = f"its Ray task failed: {str(error).strip().splitlines()[-1]}"
            for cell in cells:
                cell.times_lost = self.options.retries  # it would fail again
        except RayError as error:  # its process or its node was lost
            lost = f"its Ray task was lost ({type(error).__name__})"
        until = time.monotonic() + LATE_SECONDS
        self._hear(cells)
        while not lost and any(_is_open(cell) for cell in cells) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            self._hear(cells)
        again = self._lost([cell for cell in cells if not cell.status], lost)
        if again:
            self.waiting.append(again)

    def _lost(self, cells: Sequence[_Cell], lost: str) -> list[_Cell]:
        """For unended cells of a task that is over: end those that must not be retried, return the others."""
        for cell in [cell for cell in cells if cell.begun] or cells:
            cell.times_lost += 1
        again = []
        for cell in cells:
            if cell.interrupted and not lost:
                self._end(cell, cell.interrupted)
            elif cell.times_lost > self.options.retries:
                self._end(cell, crash_record(cell.job, lost or SILENT))
            else:
                self.progress(cell.job, Notice(text=f"{lost or SILENT}; it starts again"))
                again.append(cell)
        return again

    def _end(self, cell: _Cell, ending: Finished) -> None:
        cell.status = ending.status
        self.progress(cell.job, ending)

    def _let_save(self) -> None:
        """Ask all tasks to save and end their cells."""
        self.meeting.stop.touch()
        until = time.monotonic() + SAVING_SECONDS
        while self.running and time.monotonic() < until:
            with suppress(KeyboardInterrupt):  # impatient people send the signal twice
                done, _ = ray.wait(list(self.running), timeout=LOOK_SECONDS)
                for task in done:
                    self.running.pop(task)


def _is_open(cell: _Cell) -> bool:
    return not cell.status and cell.interrupted is None
