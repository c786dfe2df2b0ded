"""Recompute a record's split fingerprints from packed data that is already here."""

from ferbench.contract.protocol import Protocol
from ferbench.data.cross import open_cross_test
from ferbench.data.external import is_prepared, open_external
from ferbench.data.pack import find_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.sources import classes_of, open_dataset, shared_classes
from ferbench.data.splits import fold_of, make_split
from ferbench.errors import FerbenchError
from ferbench.plugins import registry
from ferbench.records.cell import Cell


def split_fingerprints(cell: Cell) -> dict[str, str] | None:
    """The fingerprints of a cell's split, or None where its data is not packed on this machine."""
    try:
        return _fingerprints(cell)
    except FerbenchError:
        return None


def _fingerprints(cell: Cell) -> dict[str, str] | None:
    dataset, protocol = open_dataset(cell.dataset), registry().get("protocols", cell.protocol).load()
    pool = open_dataset(cell.pool_name) if cell.pool_name else None
    other = open_dataset(cell.test_on) if cell.test_on else None
    # Which images look alike is decided at the size of the cell, and the rest at any.
    size = _image_size(cell, protocol, dataset.info.family)
    folder = packed_folder(dataset, size) if pool or other else find_packed(dataset)
    if folder is None or not folder.is_dir() or not all(is_prepared(each, size) for each in (pool, other) if each):
        return None
    packed, fold = Packed(folder), fold_of(protocol, cell.seed)
    _, class_names = classes_of(dataset, cell.classes)
    rule, groups = protocol.split_rule, protocol.rank_groups
    split = make_split(packed, class_names, cell.budget, cell.seed, rule=rule, groups=groups, fold=fold)
    external = open_external(pool, packed, fold) if pool else None
    found = external.fingerprints(split, keeps_rest=cell.keeps_rest) if external else split.fingerprints
    if other is None:
        return found
    shared = shared_classes(dataset, class_names, other)
    return open_cross_test(other, shared, packed, fold=fold, pool=external).fingerprints(found)


def _image_size(cell: Cell, protocol: Protocol, family: str) -> int:
    changed = cell.overrides.get("protocol", {}).get("image_size")
    return changed if isinstance(changed, int) else protocol.recipe_for(family).image_size
