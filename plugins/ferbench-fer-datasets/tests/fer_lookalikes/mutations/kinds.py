"""What a mutation is, and what there is to mutate."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fer_lookalikes.damaging import Tree

Mutation = Callable[[Tree], None]


def everything(tree: Tree) -> list[Path]:
    """All below the root that is no link, in an order that stays."""
    return sorted(path for path in tree.root.rglob("*") if not path.is_symlink())


def folders(tree: Tree) -> list[Path]:
    """All folders below the root."""
    return [path for path in everything(tree) if path.is_dir()]


def files(tree: Tree, *suffixes: str) -> list[Path]:
    """Regular files, only of these suffixes where there are any."""
    found = [path for path in everything(tree) if path.is_file()]
    return [path for path in found if not suffixes or path.suffix.lower() in suffixes]


def some(tree: Tree, paths: Sequence[Path]) -> list[Path]:
    """One of them, those of one folder, or all."""
    if not paths:
        return []
    one = tree.chance.choice(paths)
    return tree.chance.choice([[one], [path for path in paths if path.parent == one.parent], list(paths)])


def move(path: Path, target: Path) -> None:
    """Move a file or folder where nothing is, and where a name may be so long."""
    if not os.path.lexists(target) and len(os.fsencode(target.name)) < 256:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
