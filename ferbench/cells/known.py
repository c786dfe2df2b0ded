"""The facts that records are checked against, from the installed plugins and from a board."""

from functools import cache
from pathlib import Path

from ferbench.cells.code_stamps import named_parts
from ferbench.cells.resolve import tuning_of
from ferbench.contract.protocol import Protocol
from ferbench.data.sources import open_dataset
from ferbench.discovery.registry import Registry, source_hash
from ferbench.errors import FerbenchError
from ferbench.records.cell import Cell
from ferbench.records.known import Known, KnownDataset, KnownTuning, read_pins


def known(registry: Registry, board: Path) -> Known:
    """Return what these plugins know, and what is pinned next to the records of a board."""

    @cache
    def dataset(name: str) -> KnownDataset | None:
        try:
            info = open_dataset(registry, name).info
        except FerbenchError:
            return None
        return KnownDataset(info.family, info.classes, info.publishes_labels)

    def tuning(cell: Cell, role: str) -> KnownTuning | None:
        kind, name = named_parts(cell).get(role, ("", ""))
        found, protocol = dataset(cell.dataset), known_protocols(registry).get(cell.protocol)
        if found is None or protocol is None or name not in registry.entries.get(kind, {}):
            return None
        tuned = tuning_of(registry, protocol, found.family, role, name, cell.variant)
        entry = registry.get(kind, name)
        options, trials = (tuned.options, tuned.trials) if tuned else ({}, 0)
        return KnownTuning(entry.distribution, trials, options, source_hash(entry))

    return Known(dataset, tuning, read_pins(board))


@cache
def known_protocols(registry: Registry) -> dict[str, Protocol]:
    """Return the protocols of built-ins and plugins, by name; one that cannot be loaded is omitted."""
    found: dict[str, Protocol] = {}
    for name in registry.names("protocols"):
        try:
            found[name] = registry.load("protocols", name)
        except FerbenchError:
            continue
    return found
