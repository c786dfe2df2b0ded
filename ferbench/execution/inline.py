"""Runs cells in this process, without start-up time and crash isolation, for debuggers and notebooks."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from ferbench.contract.events import Finished, Started
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.discovery.loader import load_registry
from ferbench.errors import FerbenchError, InterruptedRun, UsageError
from ferbench.execution.devices import choose_device
from ferbench.execution.endings import finished, unfinished
from ferbench.execution.notices import warnings_as_notices
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests


class InlineExecutor(Executor):
    """Runs one cell after the other, for any number of slots; a signal saves the cell and ends the call."""

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        for job in jobs[:1]:
            if job.processes > 1:
                raise UsageError(
                    f"--processes {job.processes}: the inline executor has one process; choose --executor local"
                )
            choose_device(job.device)
        return 1

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        statuses = ["missing"] * len(jobs)
        threads = torch.get_num_threads()
        try:
            for index, job in enumerate(jobs):
                stop = StopRequests()
                ending = _run(job, progress, stop)
                progress(job, ending)
                statuses[index] = ending.status
                if stop.is_signalled:
                    raise KeyboardInterrupt
        finally:
            torch.set_num_threads(threads)
        return statuses


def _run(job: Job, progress: JobListener, stop: StopRequests) -> Finished:
    here = replace(job, device=choose_device(job.device))
    stop.allow(job.timeout)
    progress(job, Started())
    events = partial(progress, job)
    with stop.heeding_signals(), warnings_as_notices(events):
        try:
            return finished(run_cell(here, load_registry(), events, stop))
        except KeyboardInterrupt:  # in a thread that signals do not reach, or while nothing calls `stop`
            stop.is_signalled = True
            return unfinished(InterruptedRun("interrupted; run the same command again to continue"))
        except FerbenchError as error:
            return unfinished(error)
