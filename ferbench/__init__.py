"""ferbench: reproducible, plugin-based benchmarks of semi-supervised facial expression recognition."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ferbench.posix import require_posix
from ferbench.version import __version__

if TYPE_CHECKING:
    from ferbench.execution.api import run
    from ferbench.execution.cell_process import CellProcess, EventTail
    from ferbench.execution.crash_record import crash_record
    from ferbench.execution.trained_model import load_model
    from ferbench.execution.workers import Workers
    from ferbench.records.frame import load

__all__ = ["CellProcess", "EventTail", "Workers", "__version__", "crash_record", "load", "load_model", "run"]

_HOMES = {
    "CellProcess": "ferbench.execution.cell_process",
    "EventTail": "ferbench.execution.cell_process",
    "Workers": "ferbench.execution.workers",
    "crash_record": "ferbench.execution.crash_record",
    "load": "ferbench.records.frame",
    "load_model": "ferbench.execution.trained_model",
    "run": "ferbench.execution.api",
}


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used: `import ferbench` alone loads neither torch nor pandas."""
    if name in _HOMES:
        require_posix()
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ferbench' has no attribute '{name}'")
