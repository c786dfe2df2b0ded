"""What `--executor-option` takes, and the parameters of sbatch that become of it."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from ferbench.contract.executor import ExecutorOptions
from ferbench.errors import suggestion

SHORTEST_MINUTES = 15
"""That a job should run: starting it costs a scheduler some seconds, and submitit takes limits that are much shorter
for used up as soon as the job begins."""
SIGNAL_SECONDS = 90
"""How long before the end of its time a job is warned, so that it saves."""
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
        60, ge=SHORTEST_MINUTES, description="limit of a job in minutes; what is not done by then goes on in another"
    )
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = Field(
        (), description="shell commands before a job begins, such as 'module load cuda': one, or a list"
    )
    cells_per_job: int | None = Field(None, ge=1, description="cells that a job runs one after the other; 1 if omitted")
    cell_minutes: float | None = Field(
        None,
        gt=0,
        description=f"how long a cell takes, in minutes: so many are put into a job that it runs {SHORTEST_MINUTES}",
    )
    requeues: int = Field(20, ge=0, description="how often a job whose time is up goes on in another turn")
    retries: int = Field(
        2, ge=0, description="how often a cell begins again that was killed or whose job was lost, from its checkpoint"
    )
    detach: bool = Field(False, description="submit and end; the same command without it watches the jobs")

    @model_validator(mode="after")
    def _of_sbatch(self) -> "SlurmOptions":
        if self.cells_per_job and self.cell_minutes:
            raise ValueError("cells_per_job and cell_minutes say the same; keep one")
        for key in self.model_extra or {}:
            name = key.removeprefix(PASSED_ON)
            fields = SlurmOptions.model_fields
            if not key.startswith(PASSED_ON) or not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(
                    f"executor 'slurm' has no option {key!r}{suggestion(key, fields)}; it has {', '.join(fields)}, and "
                    f"{PASSED_ON}NAME for any other parameter of sbatch"
                )
            if name in fields:
                raise ValueError(f"write {name} instead of {key}")
            if name in OURS:
                raise ValueError(f"{key} cannot be set: {OURS[name]}")
        return self

    @property
    def group_size(self) -> int:
        """How many cells a job runs."""
        return math.ceil(SHORTEST_MINUTES / self.cell_minutes) if self.cell_minutes else self.cells_per_job or 1

    def parameters(self, of_submitit: set[str]) -> dict[str, Any]:
        """As submitit takes them; what it has no parameter for is a flag of sbatch."""
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
