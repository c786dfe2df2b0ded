"""What the checks of a plugin may use beside the plugin itself."""

from dataclasses import dataclass
from pathlib import Path

from ferbench.discovery.registry import Registry


@dataclass(frozen=True)
class Surroundings:
    """The registry of all plugins, and the folder with the data of a dataset that is the user's to bring."""

    registry: Registry
    root: Path | None = None
