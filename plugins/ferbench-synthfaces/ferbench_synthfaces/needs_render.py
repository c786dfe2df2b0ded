"""The error if the extra `render` is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ferbench.errors import PluginError

INSTALL_RENDER = "pip install -e 'plugins/ferbench-synthfaces[render]'"


@contextmanager
def needs_render() -> Iterator[None]:
    """Wrap imports of the renderer: raises PluginError with the install command if one of its packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "scipy"):
            raise
        raise PluginError(f"rendering needs {error.name}; install it with: {INSTALL_RENDER}") from error
