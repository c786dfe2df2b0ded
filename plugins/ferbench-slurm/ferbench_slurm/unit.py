"""What a task of SLURM does: it runs its cells one after the other, each in a process of its own, and never trains."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from submitit.helpers import DelayedSubmission

from ferbench import CellProcess, EventTail
from ferbench.contract.events import Finished
from ferbench.contract.executor import Job
from ferbench_slurm.options import SIGNAL_SECONDS
from ferbench_slurm.sweep import Sweep, SweepPlan

SAVING_SECONDS = SIGNAL_SECONDS - 15.0
"""That a cell has to save; the rest is for requeueing the job."""
KILL_SECONDS = 300.0
"""How long SLURM may take to end a job that it has asked to end."""


class Unit:
    """The one object that is pickled, with a text of JSON in it. Called, it runs; on submitit's signal it is saved."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._running: CellProcess | None = None

    @classmethod
    def of(cls, sweep: Sweep, jobs: Mapping[int, Job], attempts: int) -> "Unit":
        """Of cells by their numbers; without any it is the probe."""
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
        """Run what has not ended yet."""
        content = json.loads(self.text)
        sweep = Sweep(Path(content["folder"]), SweepPlan(cells=[]))
        if (sweep.folder / "token").read_text() != sweep.folder.name:
            raise RuntimeError(f"{sweep.folder} is not the folder that the job was submitted from")
        os.chdir(content["directory"])
        if not content["jobs"]:
            sweep.answer.touch()
        for number, job in content["jobs"]:
            if not _has_ended(sweep.events(number)):
                ending = self._run(CellProcess(Job.from_json(job), sweep.events(number), sweep.log(number)), content)
                if ending.status == "interrupted":
                    # SLURM is about to end the job, and requeues it if it is preempted: not so one that ends itself.
                    time.sleep(KILL_SECONDS)
                    return

    def _run(self, process: CellProcess, content: Mapping[str, int]) -> Finished:
        self._running = process
        return process.run(content["attempts"])

    def checkpoint(self) -> DelayedSubmission:
        """Save the cell that runs, when time is nearly up; submitit then requeues the job."""
        if self._running is not None:
            self._running.stop(SAVING_SECONDS)
        return DelayedSubmission(self)


def _has_ended(events: Path) -> bool:
    told: Sequence[object] = EventTail(events).read()
    return bool(told) and isinstance(told[-1], Finished) and told[-1].status != "interrupted"
