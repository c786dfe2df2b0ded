"""Cells as tasks of Ray that supervise a process each. Ray repeats none by itself: nothing is tried for ever."""

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
from ferbench.errors import ExecutorError
from ferbench_ray.cluster import check_nodes, connected, environment
from ferbench_ray.options import RayOptions
from ferbench_ray.task import SAVING_SECONDS, Meeting, run_cell

LOOK_SECONDS = 1.0
LATE_SECONDS = 30.0
"""How late a file may come from another machine."""


@dataclass
class _Cell:
    """A job of ferbench, and what was heard of it."""

    job: Job
    number: int
    tail: EventTail
    ending: Finished | None = None
    times_lost: int = 0
    status: str = "missing"


class RayExecutor(Executor):
    """Runs `slots` tasks at a time. Tasks end with this process: `ray job submit` lets it outlive a terminal."""

    Options = RayOptions
    options: RayOptions

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
                with suppress(OSError):  # of another command, there are more
                    meeting.folder.parent.rmdir()


class _Run:
    """The cells of one run, those that wait and those that have a task."""

    def __init__(self, options: RayOptions, jobs: Sequence[Job], progress: JobListener, meeting: Meeting) -> None:
        self.options, self.progress, self.meeting = options, progress, meeting
        self.cells = [_Cell(job, number, EventTail(meeting.events(number))) for number, job in enumerate(jobs)]
        self.waiting = deque(self.cells)
        self.running: dict[Any, _Cell] = {}

    def tell_what_is_missing(self) -> None:
        """Say what no node of the cluster has now: cells would wait for it without a word."""
        wants = self._resources(self.cells[0].job)
        for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
            most = max((node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0)
            if wants[key] > most:
                text = f"no node of Ray has {wants[key]:g} {name}s now, the most is {most:g}; cells wait for one"
                self.progress(self.cells[0].job, Notice(text=text))

    def until_done(self, slots: int) -> None:
        """Run all cells; raises ExecutorError once Ray is gone."""
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < slots:
                    self._start(self.waiting.popleft())
                done, _ = ray.wait(list(self.running), timeout=LOOK_SECONDS)
                for cell in self.running.values():
                    self._hear(cell)
                for task in done:
                    self._finish(self.running.pop(task), task)
        except (ConnectionError, RayError) as error:
            raise ExecutorError(f"Ray is gone ({error}); the same command goes on once it is back") from None
        except KeyboardInterrupt:
            self._let_save()
            raise

    def _start(self, cell: _Cell) -> None:
        # max_calls: a process of Ray serves one cell. max_retries: Ray would try a cell without memory for ever.
        remote = ray.remote(max_calls=1, max_retries=0, runtime_env=environment(), **self._resources(cell.job))
        order = self.meeting.order(cell.number, cell.job, attempts=1 + self.options.retries)
        self.running[remote(run_cell).remote(order)] = cell

    def _resources(self, job: Job) -> dict[str, Any]:
        gpus, cpus = self.options.num_gpus, self.options.num_cpus
        wanted = {
            "num_gpus": (job.processes if job.device.startswith("cuda") else 0) if gpus is None else gpus,
            "num_cpus": job.threads * job.processes if cpus is None else cpus,
        }
        return wanted if self.options.memory is None else {**wanted, "memory": self.options.memory}

    def _hear(self, cell: _Cell) -> None:
        for event in cell.tail.read():
            cell.ending = event if isinstance(event, Finished) else None
            if cell.ending is None:
                self.progress(cell.job, event)

    def _finish(self, cell: _Cell, task: Any) -> None:
        """Take the end that a cell has told, or begin it again, a few times, if it was lost."""
        try:
            ray.get(task)
            lost = ""
        except OutOfMemoryError:
            lost = "Ray's memory monitor killed its task; let fewer share a node with --executor-option memory=..."
        except RayTaskError as error:
            lost = f"its Ray task failed: {str(error).strip().splitlines()[-1]}"
            cell.times_lost = self.options.retries  # it would again
        except RayError as error:  # its process, or its node
            lost = f"its Ray task was lost ({type(error).__name__})"
        until = time.monotonic() + LATE_SECONDS
        self._hear(cell)
        while not lost and cell.ending is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            self._hear(cell)
        if cell.ending and not (lost and cell.ending.status == "interrupted"):
            return self._end(cell, cell.ending)
        cell.times_lost += 1
        if cell.times_lost > self.options.retries:
            return self._end(cell, crash_record(cell.job, lost or "its Ray task ended without a word"))
        self.progress(cell.job, Notice(text=f"{lost or 'its Ray task ended without a word'}; it begins again"))
        self.waiting.append(cell)

    def _end(self, cell: _Cell, ending: Finished) -> None:
        cell.status = ending.status
        self.progress(cell.job, ending)

    def _let_save(self) -> None:
        """Have all tasks end their cells, which save first."""
        self.meeting.stop.touch()
        until = time.monotonic() + SAVING_SECONDS
        while self.running and time.monotonic() < until:
            with suppress(KeyboardInterrupt):  # impatient people signal twice
                done, _ = ray.wait(list(self.running), timeout=LOOK_SECONDS)
                for task in done:
                    self.running.pop(task)
