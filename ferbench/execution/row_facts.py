"""Remembers the facts of a grid's rows, so that planning loads torch only for new code and new nets.

A separate process asks the code of all rows of a grid and stores the answers in the cache. If it fails, the planning
process asks itself and gets the same error.
"""

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from ferbench.cells.code_stamps import code
from ferbench.cells.method_facts import RowFacts
from ferbench.cells.request import Grid, GridRow, RunRequest
from ferbench.contract.executor import module_command
from ferbench.data.cache import cache_root
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry, source_hash
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic

DECIDING = ("variant", "head", "overrides", "device", "processes")
"""Fields of a request that decide the facts of a row. If options are set, the methods count too."""
KEPT_DAYS = 30
"""Days that a row is remembered. A change of code makes new files, and the old ones are never read again."""


class RememberedRows:
    """The remembered rows of one grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._has_asked = False

    def find(self, row: GridRow) -> RowFacts | None:
        """The remembered facts of a row. None if there are none, or if torch is loaded, so that asking is quick."""
        if "torch" in sys.modules:
            return None
        facts = _read(self.path(row))
        if facts is None and not self._has_asked:
            self._has_asked = True
            _ask_apart(self.grid.request)
            facts = _read(self.path(row))
        return facts

    def keep(self, row: GridRow, facts: RowFacts) -> None:
        """Store the facts of a row, and remove old files."""
        path = self.path(row)
        write_atomic(path, facts.model_dump_json().encode())
        for other in path.parent.iterdir():
            with suppress(OSError):  # another process removes them too
                if time.time() - other.stat().st_mtime > KEPT_DAYS * 86_400:
                    other.unlink()

    def path(self, row: GridRow) -> Path:
        """The file of a row. Its name depends on the code and on everything else that may change the facts."""
        grid, request = self.grid, asdict(self.grid.request)
        family = grid.opened(row.dataset).info.family
        deciding = {name: request[name] for name in DECIDING}
        methods = request["methods"] if request["overrides"] else []
        init = request["init"]
        if init != "hub":  # the file of `hub` depends on the size and comes from timm's version
            init = grid.start_of(row.backbone, grid.protocol.recipe_for(family)).init
        # The request may leave the protocol to `--ratio` or `--labels`; tunings are those of one protocol.
        key = digest([self._code, grid.protocol.name, deciding, methods, family, asdict(row), init])
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
    """A digest of all that decides the facts of rows: the code of every registered part, and the tunings."""
    entries = [
        [kind, name, entry.target, entry.version, source_hash(entry)]
        for kind, known in sorted(registry.entries.items())
        for name, entry in sorted(known.items())
    ]
    return digest([code(), entries, sorted(map(repr, registry.tunings))])


def _ask_apart(request: RunRequest) -> None:
    asked = replace(request, seeds=tuple(request.seeds)[:1], executor="local", executor_options={})
    command = module_command("ferbench.execution.row_facts", json.dumps(asdict(asked), default=str))
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(request: str) -> None:
    """Ask the code of all rows of a request, which is given as JSON."""
    from ferbench.execution.plan import Planner

    values = json.loads(request)
    planner = Planner(RunRequest(**{**values, "runs": Path(values["runs"])}), load_registry())
    for row in planner.grid.grid_rows():
        planner.remembered.keep(row, planner.checked_facts(row))


if __name__ == "__main__":
    main(sys.argv[1])
