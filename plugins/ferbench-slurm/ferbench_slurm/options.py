"""The options that `--executor-option` accepts, and the parameters of sbatch that they become."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from ferbench.contract.executor import ExecutorOptions
from ferbench.errors import suggestion

SHORTEST_MINUTES = 15
"""Shortest time limit of a job. Starting a job costs the scheduler some seconds, and with much shorter limits submitit
thinks that the time is used up as soon as the job begins."""
SIGNAL_SECONDS = 90
"""Seconds before the end of its time at which a job gets a signal, so that it saves."""
PASSED_ON = "slurm_"
OURS = {
    "array": "cells are an array",
    "array_parallelism": "use --jobs",
    "dependency": "arrays wait for the probe of the runs folder",
    "job_name": "jobs are found again by their names",
    "nodes": "a cell has one node",
    "ntasks_per_node": "a cell is one task",
    "output": "logs lie in the runs folder",
    "error": "logs lie in the runs folder",
    "requeue": "jobs are requeued until they are done",
    "signal": "it is how a job learns that its time is up",
    "signal_delay_s": "it is how a job learns that its time is up",
    "use_srun": "without srun a job does not learn that its time is up",
}


def _lines(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SlurmOptions(ExecutorOptions):
    """The usual parameters of sbatch by their names; any other one is `slurm_NAME`."""

    model_config = ConfigDict(extra="allow")

    partition: str | None = Field(None, description="partition; the site's default if omitted")
    account: str | None = Field(None, description="account that is charged")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="features that a node must have")
    gres: str | None = Field(None, description="generic resources of each cell, such as gpu:1")
    mem: str | None = Field(None, description="memory of each cell, such as 16G")
    time: int = Field(
        60, ge=SHORTEST_MINUTES, description="time limit of a job in minutes; unfinished cells continue in another job"
    )
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = Field(
        (), description="shell commands before a job begins, such as 'module load cuda': one, or a list"
    )
    cells_per_job: int | None = Field(None, ge=1, description="number of cells that a job runs in turn; 1 if omitted")
    cell_minutes: float | None = Field(
        None,
        gt=0,
        description=f"minutes that a cell takes; a job gets enough cells to run for {SHORTEST_MINUTES}",
    )
    requeues: int = Field(20, ge=0, description="how often a job whose time is up is queued again")
    retries: int = Field(
        2, ge=0, description="how often a cell that was killed, or lost its job, continues from its checkpoint"
    )
    detach: bool = Field(False, description="submit the jobs and return; the same command without it watches them")

    @model_validator(mode="after")
    def _of_sbatch(self) -> "SlurmOptions":
        if self.cells_per_job and self.cell_minutes:
            raise ValueError("cells_per_job and cell_minutes set the same thing; keep one")
        for key in self.model_extra or {}:
            name = key.removeprefix(PASSED_ON)
            fields = SlurmOptions.model_fields
            if not key.startswith(PASSED_ON) or not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(
                    f"{key}: no such option{suggestion(key, fields)}; there are {', '.join(fields)}, and "
                    f"{PASSED_ON}NAME for any other parameter of sbatch"
                )
            if name in fields:
                raise ValueError(f"write {name} instead of {key}")
            if name in OURS:
                raise ValueError(f"{key} cannot be set: {OURS[name]}")
        return self

    @property
    def group_size(self) -> int:
        """The number of cells that a job runs."""
        return math.ceil(SHORTEST_MINUTES / self.cell_minutes) if self.cell_minutes else self.cells_per_job or 1

    def parameters(self, of_submitit: set[str]) -> dict[str, Any]:
        """The parameters for submitit. Those that it does not know become flags of sbatch."""
        names = ("partition", "account", "qos", "constraint", "gres", "mem", "time")
        found = {name: value for name in names if (value := getattr(self, name)) is not None}
        flags: dict[str, Any] = {}
        for key, value in (self.model_extra or {}).items():
            name = key.removeprefix(PASSED_ON)
            if name in of_submitit:
                found[name] = value
            else:
                flags[name.replace("_", "-")] = value
        flags.update(found.get("additional_parameters") or {})
        return {
            **found,
            "setup": list(self.setup),
            "signal_delay_s": SIGNAL_SECONDS,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, **flags},
        }
