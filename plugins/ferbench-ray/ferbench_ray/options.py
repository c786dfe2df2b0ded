"""What `--executor-option` takes."""

from pydantic import Field

from ferbench.contract.executor import ExecutorOptions


class RayOptions(ExecutorOptions):
    """Where Ray is, and what a cell has of it."""

    address: str | None = Field(
        None,
        min_length=1,
        description="auto, host:port or ray://host:10001; if omitted RAY_ADDRESS, else a Ray of this machine that is "
        "started for the run",
    )
    num_gpus: float | None = Field(
        None, ge=0, description="GPUs of each cell, also a part of one; 1 with --device cuda, else 0, if omitted"
    )
    num_cpus: float | None = Field(None, ge=0, description="CPUs of each cell; its threads if omitted")
    memory: int | None = Field(None, gt=0, description="bytes of each cell, by which Ray chooses nodes with room")
    retries: int = Field(
        2, ge=0, description="how often a cell begins again that was killed or whose node was lost, from its checkpoint"
    )
