"""Recompute a record's split fingerprints from packed data that is already here."""

from ferbench.data.pack import find_packed
from ferbench.data.packed import Packed
from ferbench.data.sources import classes_of, open_dataset
from ferbench.data.splits import make_split, pool_rows
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
        split = make_split(
            Packed(folder), class_names, cell.budget, cell.seed, rule=protocol.split_rule, groups=protocol.rank_groups
        )
        if cell.pool is None:
            return split.fingerprints
        pool = find_packed(open_dataset(cell.pool))
        return {**split.fingerprints, "unlabeled": pool_rows(Packed(pool))[1]} if pool else None
    except FerbenchError:
        return None
