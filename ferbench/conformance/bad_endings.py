"""Methods whose cells end badly, for the checks of executors; only processes started by these checks find them."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """Register a method that crashes, and one that never ends by itself."""
    module = "ferbench.conformance.bad_methods"
    register("toy-crash", f"{module}:Crashing", summary="Aborts its process")
    register("toy-hang", f"{module}:Hanging", summary="Never ends")
