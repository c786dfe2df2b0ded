"""Methods whose cells end badly, for the checks of executors; found only by processes that these start."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """A crash, and a cell that never ends by itself."""
    module = "ferbench.conformance.bad_methods"
    register("toy-crash", f"{module}:Crashing", summary="Aborts its process")
    register("toy-hang", f"{module}:Hanging", summary="Never comes to an end")
