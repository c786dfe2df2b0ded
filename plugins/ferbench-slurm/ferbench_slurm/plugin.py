"""Registers the executor with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_executors(register: Register) -> None:
    """The executor."""
    register("slurm", "ferbench_slurm.executor:SlurmExecutor", summary="Cells as job arrays of a SLURM cluster")
