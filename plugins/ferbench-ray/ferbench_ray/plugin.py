"""Registers the executor with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_executors(register: Register) -> None:
    """The executor."""
    register("ray", "ferbench_ray.executor:RayExecutor", summary="Cells as tasks of a Ray cluster")
