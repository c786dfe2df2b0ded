"""Questions to SLURM: its limits, and the states of jobs."""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from ferbench.errors import ExecutorError

PATIENCE_SECONDS = 60.0
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
GONE = "no longer in the queue"
ORDINARY = {"None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "Prolog"}
"""Reasons for waiting that need no attention."""
Task = tuple[str, int]
"""The name of a job and the number of its task; 0 if it is not an array."""


@dataclass(frozen=True)
class TaskState:
    """The state of a task."""

    state: str = GONE
    reason: str = ""
    job_id: str = ""
    """The id of its whole array."""

    @property
    def is_over(self) -> bool:
        """Whether it will not run any more, not even after requeueing."""
        return self.state in ENDED or self.state == GONE

    @property
    def is_stuck(self) -> bool:
        """Whether it waits until somebody acts."""
        return self.state == "PENDING" and self.reason not in ORDINARY


def largest_array() -> int:
    """The largest number of tasks in an array; raises ExecutorError if SLURM does not answer."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    largest = int(found[1]) if found else 1000
    if not largest:
        raise ExecutorError("SLURM has no job arrays here (MaxArraySize is 0), and cells run as arrays; ask the site")
    return largest


def task_states(names: Iterable[str]) -> dict[Task, TaskState]:
    """The states of this user's jobs with these names, by name and number of the task."""
    listed = ",".join(names)
    text = _ask(
        "squeue", f"--user={os.getuid()}", f"--name={listed}", "--states=all", "--array", "--noheader",
        "--format=%j|%K|%T|%F|%r",
    )  # fmt: skip
    rows = (line.split("|", 4) for line in text.splitlines() if line.count("|") >= 4)
    return {
        (name, int(task) if task.isdigit() else 0): TaskState(state, why, job) for name, task, state, job, why in rows
    }


def cancel(names: Iterable[str]) -> None:
    """Cancel all jobs with these names."""
    if jobs := {state.job_id for state in task_states(names).values() if not state.is_over}:
        _ask("scancel", *sorted(jobs))


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    except FileNotFoundError:
        raise ExecutorError(
            f"SLURM is not here: there is no command '{command[0]}'; run on a login node of the cluster, or choose "
            "--executor local"
        ) from None
    except subprocess.TimeoutExpired:
        raise ExecutorError(_silent(command, f"nothing within {PATIENCE_SECONDS:.0f} s")) from None
    if done.returncode:
        raise ExecutorError(_silent(command, (done.stderr.strip() or f"code {done.returncode}").splitlines()[0]))
    return done.stdout


def _silent(command: tuple[str, ...], problem: str) -> str:
    return f"SLURM does not answer '{' '.join(command[:3])}' ({problem}); try `scontrol ping`, then run again"
