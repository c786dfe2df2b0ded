"""Where caches lie."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`FERBENCH_CACHE`, else `ferbench` in the user's cache folder."""
    chosen = os.environ.get("FERBENCH_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferbench"
