"""Ways in which people have other copies than their publishers': renamed, nested, re-encoded, with more beside them.

None says of an image that it has another class. So whatever a reader makes of the copy, an image that it keeps has the
label and the split of the original.
"""

import hashlib
import os
from pathlib import Path

from fer_lookalikes.damaging import Tree
from fer_lookalikes.mutations import archives, beside, folders, images, labels, tables
from fer_lookalikes.mutations.kinds import Mutation

MUTATIONS: list[Mutation] = [
    *(folders.nested, folders.renamed, folders.renamed_everywhere, folders.linked, folders.gone, folders.copied),
    *(images.moved, images.other_suffix, images.other_format, images.copied_beside),
    *(beside.junk, beside.archived, beside.list_renamed, beside.unreadable),
    *(*tables.OF_ROWS, tables.other_encoding, tables.number_out_of_range),
    *(archives.parquet_otherwise, archives.members_otherwise),
    # What finds most, and is least likely to be drawn
    *(folders.renamed, folders.renamed_everywhere, images.other_suffix, beside.junk, beside.archived),
]
SHIFTS: list[Mutation] = [labels.shifted, folders.numbers_shifted]


def mutate(tree: Tree) -> str:
    """Change the copy in one way that applies to it; returns which."""
    return _apply(tree, MUTATIONS)


def shift_labels(tree: Tree) -> str:
    """Let labels count from another number, which nothing else may hide: look-alikes have few images of a class."""
    return _apply(tree, SHIFTS)


def _apply(tree: Tree, mutations: list[Mutation]) -> str:
    before = _state(tree.root)
    for mutation in tree.chance.sample(mutations, len(mutations)):
        mutation(tree)
        if _state(tree.root) != before:
            return f"{mutation.__module__.rpartition('.')[2]}.{mutation.__name__}"
    return "nothing"


def _state(root: Path) -> dict[str, tuple[int, str]]:
    return {str(path): (path.lstat().st_mode, _content(path)) for path in root.rglob("*")}


def _content(path: Path) -> str:
    if path.is_symlink():
        return os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
