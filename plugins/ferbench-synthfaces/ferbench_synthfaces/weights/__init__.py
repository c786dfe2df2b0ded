"""Face-recognition weights in this package, one file and card for each backbone."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from ferbench.errors import UsageError


def identity(backbone: str) -> Path:
    """The file for a backbone; raises UsageError if there is none."""
    folder = Path(str(files(__name__)))
    path = folder / f"{backbone.replace('/', '-')}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(json.loads(card.read_bytes())["backbone"] for card in folder.glob("*.json")))
        raise UsageError(
            f"--init synthfaces-id: there are no weights for {backbone}; choose one of --backbone {known}, or another "
            "--init"
        )
    return path
