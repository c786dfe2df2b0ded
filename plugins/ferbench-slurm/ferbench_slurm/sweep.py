"""A sweep's folder in the runs folder, through which the executor and its jobs exchange files."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ferbench import EventTail
from ferbench.contract.events import Finished
from ferbench.contract.executor import Job

SWEEPS = ".slurm"
PLAN = "plan.json"
PREFIX = "ferbench-"


def cell_key(job: Job) -> str:
    """A key that is equal for jobs of the same cell."""
    return hashlib.sha256(json.dumps(dict(job.cell), sort_keys=True).encode()).hexdigest()


class SweepPlan(BaseModel):
    """What was submitted. It is written before that, so that the jobs of a killed command are found by their names."""

    model_config = ConfigDict(extra="forbid")

    cells: list[str]
    """The keys of the cells, by number."""
    arrays: dict[str, list[list[int]]] = {}
    """By the name of a job: the numbers of the cells that each of its tasks runs."""

    @model_validator(mode="after")
    def _cells_exist(self) -> "SweepPlan":
        numbers = (number for groups in self.arrays.values() for group in groups for number in group)
        if any(not 0 <= number < len(self.cells) for number in numbers):
            raise ValueError("a task has a cell that is not in the plan")
        return self


class Sweep:
    """One folder with the plan, the events and logs of cells by their numbers, and submitit's files."""

    def __init__(self, folder: Path, plan: SweepPlan) -> None:
        self.folder, self.plan = folder, plan

    @classmethod
    def create(cls, runs: Path, jobs: Sequence[Job]) -> "Sweep":
        """Make an empty folder. Only this user may write into it, because its jobs unpickle submitit's files in it."""
        folder = runs.absolute() / SWEEPS / secrets.token_hex(4)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "cells").mkdir()
        (folder / "token").write_text(folder.name)
        return cls(folder, SweepPlan(cells=[cell_key(job) for job in jobs]))

    @classmethod
    def all_in(cls, runs: Path) -> Iterator["Sweep"]:
        """The sweeps of this user. A folder without a readable plan is not a sweep."""
        for path in sorted((runs.absolute() / SWEEPS).glob(f"*/{PLAN}")):
            try:
                if path.stat().st_uid == os.getuid():
                    yield cls(path.parent, SweepPlan.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue

    def add_array(self, groups: Sequence[Sequence[int]]) -> str:
        """Add an array to the plan; returns the name of its job."""
        name = f"{PREFIX}{self.folder.name}-{len(self.plan.arrays)}"
        self.plan.arrays[name] = [list(group) for group in groups]
        temporary = self.folder / f"{PLAN}.tmp"
        temporary.write_text(self.plan.model_dump_json())
        temporary.replace(self.folder / PLAN)
        return name

    @property
    def probe(self) -> str:
        """The name of the job that checks whether nodes see the folder."""
        return f"{PREFIX}{self.folder.name}-probe"

    @property
    def logs(self) -> Path:
        """The folder for the output of jobs and for submitit's files."""
        return self.folder / "slurm"

    @property
    def answer(self) -> Path:
        """The file that the probe writes."""
        return self.folder / "answer"

    def events(self, number: int) -> Path:
        """The file of a cell's events."""
        return self.folder / "cells" / f"{number}.jsonl"

    def ending(self, number: int) -> Finished | None:
        """How a cell has ended, according to its events; None if it still runs or has not begun."""
        told = EventTail(self.events(number)).read()
        return told[-1] if told and isinstance(told[-1], Finished) else None

    def log(self, number: int) -> Path:
        """The file with the output of a cell's process."""
        return self.folder / "cells" / f"{number}.log"
