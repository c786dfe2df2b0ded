"""ferbench: reproducible, plugin-based benchmarks of semi-supervised facial expression recognition."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ferbench.version import __version__

if TYPE_CHECKING:
    from ferbench.execution.api import run

__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used: `import ferbench` alone loads no torch."""
    if name == "run":
        return import_module("ferbench.execution.api").run
    raise AttributeError(f"module 'ferbench' has no attribute '{name}'")
