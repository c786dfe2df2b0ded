"""What the rows of a grid come to, remembered: planning then loads torch for new code and new nets alone.

A process of its own asks the code of all rows of a grid, and leaves what it finds in the cache. Where it fails, who
plans asks itself, and meets the same error.
"""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from ferbench.cells.code_stamps import code
from ferbench.cells.method_facts import RowFacts
from ferbench.cells.request import Grid, GridRow, RunRequest
from ferbench.data.cache import cache_root
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry, source_hash
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic

DECIDING = ("protocol", "variant", "head", "overrides", "device", "processes")
"""What of a request decides the facts of a row, beside its methods where options are set."""


class RememberedRows:
    """The rows of one grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._has_asked = False

    def find(self, row: GridRow) -> RowFacts | None:
        """What was found of a row; None where its code cannot be asked apart, or torch is here and it is soon asked."""
        if "torch" in sys.modules:
            return None
        facts = _read(self.path(row))
        if facts is None and not self._has_asked:
            self._has_asked = True
            _ask_apart(self.grid.request)
            facts = _read(self.path(row))
        return facts

    def keep(self, row: GridRow, facts: RowFacts) -> None:
        """Remember what a row comes to."""
        write_atomic(self.path(row), facts.model_dump_json().encode())

    def path(self, row: GridRow) -> Path:
        """The file of a row: another one for other code, and for all that may change what it comes to."""
        grid, request = self.grid, asdict(self.grid.request)
        family = grid.opened(row.dataset).info.family
        deciding = {name: request[name] for name in DECIDING}
        methods = request["methods"] if request["overrides"] else []
        init = request["init"]
        if init != "hub":  # whose file depends on the size, and is that of timm's version
            init = grid.start_of(row.backbone, grid.protocol.recipe_for(family)).init
        key = digest([self._code, deciding, methods, family, asdict(row), init])
        return cache_root() / "rows" / f"{key}.json"

    @cached_property
    def _code(self) -> str:
        return _code_of(self.grid.registry)


def _read(path: Path) -> RowFacts | None:
    try:
        return RowFacts.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _code_of(registry: Registry) -> str:
    """What decides the facts of rows: the code of everything that is registered, and what is tuned."""
    entries = [
        [kind, name, entry.target, entry.version, source_hash(entry)]
        for kind, known in sorted(registry.entries.items())
        for name, entry in sorted(known.items())
    ]
    return digest([code(), entries, sorted(map(repr, registry.tunings))])


def _ask_apart(request: RunRequest) -> None:
    asked = replace(request, seeds=tuple(request.seeds)[:1], executor="local", executor_options={})
    command = [sys.executable, "-m", "ferbench.execution.row_facts", json.dumps(asdict(asked), default=str)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(request: str) -> None:
    """Ask the code of all rows of a request that is given as JSON."""
    from ferbench.execution.plan import Planner

    values = json.loads(request)
    planner = Planner(RunRequest(**{**values, "runs": Path(values["runs"])}), load_registry())
    for row in planner.grid.grid_rows():
        planner.remembered.keep(row, planner.checked_facts(row))


if __name__ == "__main__":
    main(sys.argv[1])
