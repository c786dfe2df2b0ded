"""Folders that are elsewhere, or have other names."""

import os
import random
import shutil
import unicodedata
from pathlib import Path

from fer_lookalikes.damaging import Tree
from fer_lookalikes.mutations.kinds import folders, move


def nested(tree: Tree) -> None:
    """What a folder holds lies one to three folders further down, as after unpacking twice."""
    folder = tree.chance.choice([tree.root, *folders(tree)])
    names = [tree.chance.choice(("data", "archive", folder.name, "images", "x y")) for _ in range(3)]
    held = [path for path in folder.iterdir() if path.name != names[0]]
    inner = folder.joinpath(*names[: tree.chance.randint(1, 3)])
    inner.mkdir(parents=True, exist_ok=True)
    for path in held:
        move(path, inner / path.name)


def _other_name(chance: random.Random, name: str) -> str:
    place = chance.randrange(len(name))
    return chance.choice(
        [
            *(name.upper(), name.lower(), name.title(), f"{chance.randrange(9)}_{name}", f"{name}s", f"{name} "),
            *(f" {name}", f"{name} (1)", f"{name}_old", f".{name}", name[:place] + name[place + 1 :] or "x"),
            *(unicodedata.normalize("NFD", f"{name}é"), name * (250 // len(name)), f"{name}-aligned", "images"),
        ]
    )


def renamed(tree: Tree) -> None:
    """A folder has another name."""
    if found := folders(tree):
        path = tree.chance.choice(found)
        move(path, path.with_name(_other_name(tree.chance, path.name)))


def renamed_everywhere(tree: Tree) -> None:
    """A name is another one in all places: that of a class in each split, or that of a split."""
    if found := folders(tree):
        name = tree.chance.choice(found).name
        other = _other_name(tree.chance, name)
        for path in found:
            if path.name == name and path.is_dir():
                move(path, path.with_name(other))


def numbers_shifted(tree: Tree) -> None:
    """Folders that are numbers count from another one."""
    step = tree.chance.choice((-1, 1))
    numbered = [path for path in folders(tree) if path.name.isdecimal() and len(path.name) < 3]
    for path in sorted(numbered, key=lambda path: -step * int(path.name)):
        if path.is_dir():
            move(path, path.with_name(str(int(path.name) + step)))


def linked(tree: Tree) -> None:
    """A folder lies elsewhere in the tree, and a link to it in its place."""
    if found := folders(tree):
        path = tree.chance.choice(found)
        place = tree.root / f"store{tree.chance.randrange(10**6)}"
        path.rename(place)
        path.symlink_to(tree.chance.choice([str(place), os.path.relpath(place, path.parent)]))


def copied(tree: Tree) -> None:
    """The whole copy lies once more below itself."""
    place = tree.root.with_name("copied")
    shutil.copytree(tree.root, place, symlinks=True, ignore=_pipes)
    move(place, tree.root / tree.chance.choice(("copy", "backup", "DATASET", "Kopie")))
    shutil.rmtree(place, ignore_errors=True)


def _pipes(folder: str, names: list[str]) -> list[str]:
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]


def gone(tree: Tree) -> None:
    """A folder is missing."""
    if found := folders(tree):
        shutil.rmtree(tree.chance.choice(found))
