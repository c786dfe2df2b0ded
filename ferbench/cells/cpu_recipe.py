"""Options that replace a recipe for GPUs by one that a CPU finishes in minutes, for a first look at your own data."""

import json

from ferbench.cells.overrides import recipe_changes
from ferbench.contract.protocol import Protocol

MADE_FOR_CPUS = "synthfaces"
"""The family of datasets whose recipe was made for CPUs."""


def cpu_options(protocol: Protocol, family: str) -> list[str]:
    """Return options of `ferbench run`; empty if the family's recipe suits a CPU or the protocol has no such recipe."""
    if (recipe := protocol.recipes.get(MADE_FOR_CPUS)) is None:
        return []
    changes = recipe_changes(protocol.recipe_for(family), recipe)
    backbone = changes.pop("backbone", None)
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["--backbone", str(backbone), *words] if backbone else words
