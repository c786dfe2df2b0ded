"""Executors decide where cells run: processes of this machine, a cluster."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ferbench.contract.events import Event

INLINE = "inline"
"""The executor that runs cells in the process that asks for them; what it makes is never standard."""


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

    def to_json(self) -> dict[str, Any]:
        """The job as JSON values, for another process."""
        return {**self.__dict__, "cell": dict(self.cell), "plan": dict(self.plan), "runs": str(self.runs)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Job":
        """The inverse of `to_json`."""
        return cls(**{**value, "runs": Path(value["runs"])})


class JobListener(Protocol):
    """Receives what happens to a job."""

    def __call__(self, job: Job, event: Event) -> None: ...


class Executor(ABC):
    """Runs jobs until each has left a record; a crash of one costs that one only."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        """Run the jobs, `slots` at a time; returns the status of each, in order ('ok', 'failed', ...)."""
