"""Recompute a record's split fingerprints from packed data that is already here."""

from ferbench.contract.protocol import Protocol
from ferbench.data.external import is_prepared, open_external
from ferbench.data.pack import find_packed, packed_folder
from ferbench.data.packed import Packed
from ferbench.data.sources import classes_of, open_dataset
from ferbench.data.splits import fold_of, make_split
from ferbench.errors import FerbenchError
from ferbench.plugins import registry
from ferbench.records.cell import Cell


def split_fingerprints(cell: Cell) -> dict[str, str] | None:
    """The fingerprints of a cell's split, or None where its data is not packed on this machine."""
    try:
        dataset = open_dataset(cell.dataset)
        folder = find_packed(dataset)
        if folder is None:
            return None
        _, class_names = classes_of(dataset, cell.classes)
        protocol = registry().get("protocols", cell.protocol).load()
        rule, groups, fold = protocol.split_rule, protocol.rank_groups, fold_of(protocol, cell.seed)
        split = make_split(Packed(folder), class_names, cell.budget, cell.seed, rule=rule, groups=groups, fold=fold)
        if cell.pool_name is None:
            return split.fingerprints
        # What of a pool looks like a test image is decided at the size of the cell, and the rest at any.
        size = _image_size(cell, protocol, dataset.info.family)
        pool, folder = open_dataset(cell.pool_name), packed_folder(dataset, size)
        if not folder.is_dir() or not is_prepared(pool, size):
            return None
        return open_external(pool, Packed(folder), fold).fingerprints(split, keeps_rest=cell.keeps_rest)
    except FerbenchError:
        return None


def _image_size(cell: Cell, protocol: Protocol, family: str) -> int:
    changed = cell.overrides.get("protocol", {}).get("image_size")
    return changed if isinstance(changed, int) else protocol.recipe_for(family).image_size
