"""Executors decide where cells run: processes of this machine, a cluster."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from ferbench.contract.events import Event

INLINE = "inline"
"""The executor that runs cells in the process that asks for them; what it makes is never standard."""
STATUSES = ("ok", "failed", "diverged", "timeout", "interrupted", "missing")
"""How a job can end: the statuses of records, and `missing` for a job that was never begun."""


@dataclass(frozen=True)
class Job:
    """One cell as plain JSON values, and where its files go."""

    cell: Mapping[str, Any]
    plan: Mapping[str, Any]
    """What its method was found to need when it was planned; who runs the job passes it on."""
    dataset: str
    pool: str | None
    init: str | None
    runs: Path
    device: str
    """`cpu`, `cuda`, `cuda:1`; `auto` is the GPU of the machine that runs the job, if it has one."""
    threads: int
    timeout: float | None = None
    processes: int = 1
    """How many share the cell; each has its part of every batch."""
    test_on: str | None = None
    """Where another dataset that the cell is tested on is opened."""
    needs_model: bool = False
    """Whether the trained model must be there too: a cell that has a record alone is then trained again."""

    executor: str = "local"
    """The name of the executor that runs the job; the record has it."""

    def command(self, events: Path | None = None) -> list[str]:
        """The command that runs the job in a process of its own, here or on a machine with the same environment.

        It reads nothing and appends its events to the file `events`, or prints them: a line of JSON each, the last
        one `Finished`. Its exit code is 0 where that says `ok`. SIGINT, SIGTERM and SIGHUP let it save the cell first.
        With `--die-with-parent` behind the command it ends, unsaved, when its standard input does: give it a pipe.
        """
        command = [sys.executable, "-m", "ferbench", "worker", json.dumps(self.to_json())]
        return command if events is None else [*command, "--events", str(events)]

    def to_json(self) -> dict[str, Any]:
        """The job as JSON values, for another process."""
        return {**self.__dict__, "cell": dict(self.cell), "plan": dict(self.plan), "runs": str(self.runs)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Job":
        """The inverse of `to_json`."""
        return cls(**{**value, "runs": Path(value["runs"])})


class JobListener(Protocol):
    """Receives what happens to a job; called by one thread at a time."""

    def __call__(self, job: Job, event: Event) -> None: ...


class ExecutorOptions(BaseModel):
    """An executor's options: frozen, unknown keys are errors. A number is text where text is wanted (`partition=7`).

    Options with `model_config = ConfigDict(extra="allow")` take keys that they pass on to a scheduler, and check these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


class Executor(ABC):
    """Runs jobs until each has left a record; a crash of one costs that one only.

    `Options` are what `--executor-option key=value` sets, checked before anything runs. An executor is made for
    `--dry-run` too: its constructor starts nothing.
    """

    Options: ClassVar[type[ExecutorOptions]] = ExecutorOptions

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        """Without `options` they have their defaults."""
        self.options = options or self.Options()

    def places(self, jobs: Sequence[Job], wanted: int | None) -> int:
        """How many of the jobs run at a time; `wanted` is what --jobs says, None where it says nothing.

        Asked before data is packed and anything starts, for `--dry-run` too. Raises UsageError for jobs that cannot run
        where the executor would run them, as for a GPU that is not there, and ExecutorError where nobody answers.
        """
        return wanted or 1

    @abstractmethod
    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        """Run the jobs, `slots` at a time; returns how each has ended, in order, as one of `STATUSES`.

        `ok` is said of jobs that have left a record with a result. `progress` is told every event of a job, the last
        one `Finished`. KeyboardInterrupt is passed on, once the jobs that run have been stopped, or
        a Notice has said that they go on without this process.
        """
