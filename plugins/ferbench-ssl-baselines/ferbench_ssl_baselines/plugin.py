"""What this distribution registers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_methods(register: Register) -> None:
    """The methods, in the order of their papers."""
