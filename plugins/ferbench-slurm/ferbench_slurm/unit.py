"""The work of a SLURM task: it runs its cells one after another, each in its own processes, and never trains itself.

The processes are forks of one server in the task, so torch is imported once for all cells.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from submitit.helpers import DelayedSubmission

from ferbench import CellProcess, Workers
from ferbench.contract.events import Finished
from ferbench.contract.executor import Job
from ferbench_slurm.options import SIGNAL_SECONDS
from ferbench_slurm.sweep import Sweep, SweepPlan

SAVING_SECONDS = SIGNAL_SECONDS - 15.0
"""Seconds that a cell has to save; the rest is for requeueing the job."""
KILL_SECONDS = 300.0
"""Seconds that SLURM may take to end a job after its signal."""


class Unit:
    """The only pickled object; it holds JSON text. A call runs the cells; submitit's signal saves them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._running: CellProcess | None = None

    @classmethod
    def of(cls, sweep: Sweep, jobs: Mapping[int, Job], attempts: int) -> "Unit":
        """The unit for cells by their numbers; without any cells it is the probe."""
        content = {
            "folder": str(sweep.folder),
            "directory": os.getcwd(),
            "attempts": attempts,
            "jobs": [[number, job.to_json()] for number, job in jobs.items()],
        }
        return cls(json.dumps(content))

    def __reduce__(self) -> tuple[type["Unit"], tuple[str]]:
        return Unit, (self.text,)

    def __call__(self) -> None:
        """Run the cells that have not ended yet."""
        content = json.loads(self.text)
        sweep = Sweep(Path(content["folder"]), SweepPlan(cells=[]))
        if (sweep.folder / "token").read_text() != sweep.folder.name:
            raise RuntimeError(f"{sweep.folder} is not the folder that the job was submitted from")
        os.chdir(content["directory"])
        if not content["jobs"]:
            sweep.answer.touch()
        with Workers() as workers:
            for number, job in content["jobs"]:
                if (ending := sweep.ending(number)) and ending.status != "interrupted":
                    continue
                cell = CellProcess(Job.from_json(job), sweep.events(number), sweep.log(number), workers)
                if self._run(cell, content["attempts"]).status == "interrupted" and not cell.is_cancelled:
                    # SLURM is about to end the job, and requeues it if it is preempted. It would not requeue a job that
                    # ends itself.
                    time.sleep(KILL_SECONDS)
                    return

    def _run(self, cell: CellProcess, attempts: int) -> Finished:
        self._running = cell
        return cell.run(attempts)

    def checkpoint(self) -> DelayedSubmission:
        """Save the running cell when time is nearly up; submitit then requeues the job."""
        if self._running is not None:
            self._running.stop(SAVING_SECONDS)
        return DelayedSubmission(self)
