"""What the checks of a plugin may use besides the plugin itself."""

from dataclasses import dataclass
from pathlib import Path

from ferbench.discovery.registry import Registry


@dataclass(frozen=True)
class Surroundings:
    """The registry of all plugins, and the folder of a dataset that the user must provide."""

    registry: Registry
    root: Path | None = None
