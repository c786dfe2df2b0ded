"""Folders within folders: deeper than functions that call themselves can follow, and than a path can name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def deep_folders(root: Path) -> Iterator[Path]:
    """The lowest of as many folders as Python allows calls; all are gone afterwards."""
    with _folders(root, ["d"] * sys.getrecursionlimit()):
        yield root.joinpath(*["d"] * sys.getrecursionlimit())


@contextmanager
def folders_without_a_path(root: Path) -> Iterator[None]:
    """Folders the lowest of which no call can name, as Linux takes 4,096 bytes; all are gone afterwards."""
    with _folders(root, ["d" * 250] * 20):
        yield


@contextmanager
def _folders(root: Path, names: list[str]) -> Iterator[None]:
    root.mkdir(parents=True)
    place = os.open(root, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", root], check=True)  # shutil.rmtree calls itself
