"""The options that `--executor-option` accepts."""

from typing import Any

from pydantic import Field

from ferbench.contract.executor import ExecutorOptions, Job


class RayOptions(ExecutorOptions):
    """The address of Ray, and the resources of a cell."""

    address: str | None = Field(
        None,
        min_length=1,
        description="auto, host:port or ray://host:10001; if omitted, RAY_ADDRESS, else a Ray that is started on this "
        "machine for the run",
    )
    num_gpus: float | None = Field(
        None, ge=0, description="GPUs of each cell, or a fraction; if omitted, 1 with --device cuda, else 0"
    )
    num_cpus: float | None = Field(None, ge=0, description="CPUs of each cell; its threads if omitted")
    memory: int | None = Field(None, gt=0, description="bytes of each cell, by which Ray chooses nodes with room")
    cells_per_task: int = Field(
        1, ge=1, description="number of cells that a task runs one after another, importing torch once"
    )
    retries: int = Field(
        2, ge=0, description="how often a cell that was killed, or lost its node, continues from its checkpoint"
    )

    def resources(self, job: Job) -> dict[str, Any]:
        """The resources of a task, by Ray's names."""
        gpus, cpus = self.num_gpus, self.num_cpus
        wanted = {
            "num_gpus": (job.processes if job.device.startswith("cuda") else 0) if gpus is None else gpus,
            "num_cpus": job.threads * job.processes if cpus is None else cpus,
        }
        return wanted if self.memory is None else {**wanted, "memory": self.memory}
