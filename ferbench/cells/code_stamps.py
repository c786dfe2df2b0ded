"""Stamps of the code that the names of a cell stand for."""

from importlib.metadata import version

from ferbench.cells.resolve import ResolvedCell
from ferbench.discovery.registry import Registry, package_hash, source_hash
from ferbench.records.cell import Cell
from ferbench.records.schema import PluginStamp, TuningStamp


def code() -> dict[str, str]:
    """Return the code that decides the numbers of a run, besides plugins: ferbench, torch and timm."""
    return {"ferbench": package_hash("ferbench"), "torch": version("torch"), "timm": version("timm")}


def stamp(registry: Registry, kind: str, name: str, variant: str = "") -> PluginStamp:
    """Return the stamp of a registered name: its code, its title and, for a method, the title of its variant."""
    entry = registry.get(kind, name)
    return PluginStamp(
        distribution=entry.distribution,
        version=entry.version,
        source_hash=source_hash(entry),
        title=entry.title,
        variant_title=entry.titles.get(variant),
    )


def named_parts(cell: Cell) -> dict[str, tuple[str, str]]:
    """Return kind and name of every registered part of a cell, by role."""
    return {
        "method": ("methods", cell.method),
        "protocol": ("protocols", cell.protocol),
        "head": ("heads", cell.head or ""),
        "backbone": ("backbones", cell.backbone.partition("/")[0]),
        "dataset": ("datasets", cell.dataset),
        "pool": ("datasets", cell.pool_name or ""),
        "test_set": ("datasets", cell.test_on or ""),
    }


def stamps(registry: Registry, cell: Cell) -> dict[str, PluginStamp]:
    """Return the stamps of all parts except the method, by role; a dataset that is not a plugin has none."""
    parts = named_parts(cell)
    del parts["method"]  # it has its own field in the record
    known = registry.entries
    return {role: stamp(registry, kind, name) for role, (kind, name) in parts.items() if name in known.get(kind, {})}


def tuning_stamps(resolved: ResolvedCell) -> dict[str, TuningStamp]:
    """Return the tunings of the cell's method, head and backbone, by role."""
    return {
        role: TuningStamp(
            distribution=tuning.distribution, trials=tuning.trials, source=tuning.source, options=dict(tuning.options)
        )
        for role, tuning in resolved.tunings.items()
    }
