"""What a reader does meanwhile: how long it takes, and whether it reads what is none of its business."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WATCHED: list[str] = []
"""The folder outside the root, while a reader is at work."""
OPENED: list[str] = []
"""What was opened or listed in it."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Hear of every file and folder that Python opens."""
    if not WATCHED or event not in ("open", "os.scandir", "os.listdir") or not isinstance(arguments[0], str):
        return
    path = arguments[0]
    if event == "open" and arguments[2] & os.O_NOFOLLOW:  # what is a link itself was not opened
        found = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    else:
        found = os.path.realpath(path)
    if found.startswith(WATCHED[0]):
        OPENED.append(path)


sys.addaudithook(_watch)


@contextmanager
def nothing_read_in(outside: Path) -> Iterator[None]:
    """A block in which no file below a folder is opened or read, by Python or by the libraries that it calls."""
    for path in outside.rglob("*"):
        if path.is_file():
            os.utime(path, (0, path.stat().st_mtime))  # where the system notes when files are read, it notes it now
    WATCHED.append(os.path.realpath(outside))
    OPENED.clear()
    try:
        yield
    finally:
        WATCHED.clear()
    read = [str(path) for path in outside.rglob("*") if path.is_file() and path.stat().st_atime > 0]
    assert (OPENED, read) == ([], [])
