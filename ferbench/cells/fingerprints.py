"""Recompute the fingerprints of a record from the data on this machine."""

from functools import cache

from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, DataNeeds, Policy, select
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError
from ferbench.records.cell import Cell
from ferbench.records.known import Counts
from ferbench.records.names import DESCRIBED
from ferbench.records.schema import Fingerprints
from ferbench.records.split_checks import Recompute, Recomputed


def recompute(cell: Cell, recorded: Fingerprints, registry: Registry) -> Recomputed:
    """Recompute every fingerprint of a record, without decoding images or running a method's code.

    What the method draws is taken from the record. A fingerprint that the cell's data cannot have is neither among
    the values nor among the unchecked ones.
    """
    try:
        resolved = resolve(cell, registry)
        data = select(resolved, Policy.IF_ON_DISK, DataNeeds.recorded(recorded))
    except FerbenchError as error:
        reason = " ".join(str(error).split())
        return Recomputed({}, dict.fromkeys(recorded.by_name(), reason))
    return Recomputed(data.fingerprints.by_name(), _unchecked_boxes(data, recorded), counts_of(data), tests_of(data))


def recomputer(registry: Registry) -> Recompute:
    """Return a function like `recompute` that works once for all cells with the same split, whatever their method."""

    @cache
    def found(rows: Cell, recorded: Fingerprints) -> Recomputed:
        return recompute(rows, recorded, registry)

    def remembered(cell: Cell, recorded: Fingerprints) -> Recomputed:
        overrides = cell.overrides.model_copy(update={"method": {}})
        update = {"method": "any", "variant": DESCRIBED, "head": None, "init": "scratch", "overrides": overrides}
        return found(Cell.model_validate(cell.model_copy(update=update).model_dump(mode="json")), recorded)

    return remembered


def counts_of(data: CellData) -> Counts:
    """Return the image counts of a cell's split, by the names of the result's fields."""
    selection, pool, cross_test = data.selection, data.pool, data.cross_test
    return {
        "n_labeled": len(selection.labeled),
        "n_validation": len(selection.validation) or None,
        "n_unlabeled": data.n_unlabeled,
        "n_near_duplicates": pool.near_duplicates if pool else None,
        "n_test": len(cross_test.rows if cross_test else selection.test),
        "n_test_left_out": cross_test.near_duplicates if cross_test else None,
        "labeled_counts": selection.labeled_counts,
    }


def tests_of(data: CellData) -> list[tuple[str, str]]:
    """Return id and class of each test image, in the order of the predictions."""
    rows = data.cross_test.rows if data.cross_test else data.selection.test
    return [(data.tested.ids[row], str(data.tested.labels[row])) for row in rows]


def _unchecked_boxes(data: CellData, recorded: Fingerprints) -> dict[str, str]:
    """Leave boxes unchecked that a detector may have found on another machine; not if every image has its own box."""
    sources = data.images.box_sources(data.selection.labeled)
    if recorded.boxes is None or sources["detected"] or not sources["central"]:
        return {}
    return {"boxes": f"no face detector has run on this machine; run `ferbench boxes {data.images.name}`"}
