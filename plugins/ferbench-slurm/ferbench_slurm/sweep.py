"""A sweep's folder in the runs folder, where the executor and its jobs meet."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ferbench.contract.executor import Job

SWEEPS = ".slurm"
PLAN = "plan.json"
PREFIX = "ferbench-"


def cell_key(job: Job) -> str:
    """The same for jobs of one cell."""
    return hashlib.sha256(json.dumps(dict(job.cell), sort_keys=True).encode()).hexdigest()


class SweepPlan(BaseModel):
    """What was submitted; written before it is, so that the jobs of a killed command are found by their names."""

    model_config = ConfigDict(extra="forbid")

    cells: list[str]
    """Their keys, by number."""
    arrays: dict[str, list[list[int]]] = {}
    """By the name of its job, the numbers of the cells that each task of it runs."""

    @model_validator(mode="after")
    def _cells_exist(self) -> "SweepPlan":
        numbers = (number for groups in self.arrays.values() for group in groups for number in group)
        if any(not 0 <= number < len(self.cells) for number in numbers):
            raise ValueError("a task has a cell that is not in the plan")
        return self


class Sweep:
    """One folder: the plan, events and logs of cells by their numbers, what submitit writes."""

    def __init__(self, folder: Path, plan: SweepPlan) -> None:
        self.folder, self.plan = folder, plan

    @classmethod
    def create(cls, runs: Path, jobs: Sequence[Job]) -> "Sweep":
        """An empty one; only this user may write into it, as its jobs unpickle what submitit leaves there."""
        folder = runs.absolute() / SWEEPS / secrets.token_hex(4)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "cells").mkdir()
        (folder / "token").write_text(folder.name)
        return cls(folder, SweepPlan(cells=[cell_key(job) for job in jobs]))

    @classmethod
    def all_in(cls, runs: Path) -> Iterator["Sweep"]:
        """Those of this user; a folder without a readable plan is none."""
        for path in sorted((runs.absolute() / SWEEPS).glob(f"*/{PLAN}")):
            try:
                if path.stat().st_uid == os.getuid():
                    yield cls(path.parent, SweepPlan.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue

    def add_array(self, groups: Sequence[Sequence[int]]) -> str:
        """Plan a further array; returns the name of its job."""
        name = f"{PREFIX}{self.folder.name}-{len(self.plan.arrays)}"
        self.plan.arrays[name] = [list(group) for group in groups]
        temporary = self.folder / f"{PLAN}.tmp"
        temporary.write_text(self.plan.model_dump_json())
        temporary.replace(self.folder / PLAN)
        return name

    @property
    def probe(self) -> str:
        """The name of the job that looks whether nodes see the folder."""
        return f"{PREFIX}{self.folder.name}-probe"

    @property
    def logs(self) -> Path:
        """Where SLURM writes what jobs print, and submitit its files."""
        return self.folder / "slurm"

    @property
    def answer(self) -> Path:
        """The file that the probe leaves."""
        return self.folder / "answer"

    def events(self, number: int) -> Path:
        """The file of a cell's events."""
        return self.folder / "cells" / f"{number}.jsonl"

    def log(self, number: int) -> Path:
        """The file of what a cell's process prints."""
        return self.folder / "cells" / f"{number}.log"
