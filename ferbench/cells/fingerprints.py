"""The fingerprints that a record holds, recomputed from the data that is on this machine."""

from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, DataNeeds, Policy, select
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError
from ferbench.records.cell import Cell
from ferbench.records.schema import Fingerprints
from ferbench.records.verification import Recomputed


def recompute(cell: Cell, recorded: Fingerprints, registry: Registry) -> Recomputed:
    """Recompute every fingerprint that a record holds; decodes nothing, and runs no method's code.

    What a method draws is taken from the record: a fingerprint that the cell's data cannot have is among neither.
    """
    try:
        resolved = resolve(cell, registry)
        data = select(resolved, Policy.IF_ON_DISK, DataNeeds.recorded(recorded))
    except FerbenchError as error:
        reason = " ".join(str(error).split())
        return Recomputed({}, dict.fromkeys(recorded.by_name(), reason))
    return Recomputed(data.fingerprints.by_name(), _unchecked_boxes(data, recorded))


def _unchecked_boxes(data: CellData, recorded: Fingerprints) -> dict[str, str]:
    """Boxes that a detector may have found elsewhere: where every labeled image has its own, none can have played."""
    sources = data.images.box_sources(data.selection.labeled)
    if recorded.boxes is None or sources["detected"] or not sources["central"]:
        return {}
    return {"boxes": f"no face was looked for on this machine; run `ferbench boxes {data.images.name}`"}
