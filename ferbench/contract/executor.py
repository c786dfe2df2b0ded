"""Executors decide where cells run: in processes on this machine, or on a cluster."""

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from ferbench.contract.events import Event

INLINE = "inline"
"""The executor that runs cells in the calling process; its records are never standard."""
STATUSES = ("ok", "failed", "diverged", "timeout", "interrupted", "missing")
"""How a job can end: the statuses of records, and `missing` for a job that never began."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in another Python process.

    Like the `ferbench` script, it does not import from the current folder, where a user's random.py or another checkout
    of ferbench may lie; but it does if this process does.
    """
    from_here = not {"", os.getcwd()}.isdisjoint(sys.path)
    return [sys.executable, *([] if from_here else ["-P"]), "-m", module, *arguments]


@dataclass(frozen=True)
class Job:
    """One cell as plain JSON values, and the paths of its files."""

    cell: Mapping[str, Any]
    plan: Mapping[str, Any]
    """What planning found out about the needs of the method; the executor passes it on unchanged."""
    dataset: str
    pool: str | None
    init: str | None
    runs: Path
    device: str
    """`cpu`, `cuda`, `cuda:1`; `auto` means the GPU of the machine that runs the job, if it has one."""
    threads: int
    timeout: float | None = None
    processes: int = 1
    """Number of processes that share the cell; each gets its part of every batch."""
    test_on: str | None = None
    """Path or name by which another dataset, on which the cell is tested, is opened."""
    needs_model: bool = False
    """Whether the trained model is needed too: a cell with only a record is then trained again."""

    executor: str = "local"
    """The name of the executor that runs the job, for the record."""

    def command(self, events: Path | None = None) -> list[str]:
        """Return the command that runs the job in a new process, here or on a machine with the same environment.

        The process appends its events to the file `events`, or prints them: one line of JSON each, the last one is
        `Finished`. Its exit code is 0 if that says `ok`. After SIGINT, SIGTERM or SIGHUP it saves the cell first. It
        does not read its standard input; only if `--die-with-parent` is added, it ends, without saving, when its
        standard input is closed: give it a pipe.
        """
        command = module_command("ferbench", "worker", json.dumps(self.to_json()))
        return command if events is None else [*command, "--events", str(events)]

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values, for another process."""
        return {**self.__dict__, "cell": dict(self.cell), "plan": dict(self.plan), "runs": str(self.runs)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Job":
        """Make a job from the values of `to_json`."""
        return cls(**{**value, "runs": Path(value["runs"])})


class JobListener(Protocol):
    """Receives the events of a job; called by one thread at a time."""

    def __call__(self, job: Job, event: Event) -> None: ...


class ExecutorOptions(BaseModel):
    """An executor's options: frozen, unknown keys are errors. A number becomes text for a text field (`partition=7`).

    Options with `model_config = ConfigDict(extra="allow")` accept further keys for a scheduler, and must check them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


class Executor(ABC):
    """Runs jobs until each has a record; a crash of one job must not affect the others.

    `--executor-option key=value` sets `Options`, which are checked before anything runs. An executor is also created
    for `--dry-run`, so its constructor must not start anything.
    """

    Options: ClassVar[type[ExecutorOptions]] = ExecutorOptions
    spreads_over_gpus: ClassVar[bool] = False
    """Whether the device of jobs may be a range, such as `cuda:0-3`, of whose GPUs `run` gives each job one."""

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        """Without `options`, the defaults of `Options` are used."""
        self.options = options or self.Options()

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        """Return how many of the jobs run at a time; `wanted` is the value of --jobs, None if it is not given.

        Called before data is packed and anything starts, also for `--dry-run`. Raises UsageError if jobs cannot run
        where the executor would run them, for example without the wanted GPU, and ExecutorError if nothing answers.
        """
        return wanted or 1

    @abstractmethod
    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        """Run the jobs, `slots` at a time; return how each has ended, in order, as one of `STATUSES`.

        `ok` means that the job has a record with a result. `progress` must receive every event of a job, the last one
        `Finished`. A KeyboardInterrupt must be raised again, after the running jobs have been stopped or a Notice has
        said that they go on without this process.
        """
