"""A walk through a folder that may not be trusted. It does not enter linked folders, and errors do not end it."""

import os
from collections.abc import Iterator
from pathlib import Path

Entries = dict[str, os.DirEntry[str]]


def folders_below(root: Path) -> Iterator[tuple[str, Entries | OSError]]:
    """Yield the root, as an empty text, and each folder below it: its path below the root, and its entries by name.

    A folder that cannot be listed comes with the error instead. The walk does not enter folders that the consumer
    removes from the entries.
    """
    waiting = [""]
    while waiting:  # not os.walk, which fails in trees that are some thousand folders deep
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listed:
                entries = {entry.name: entry for entry in listed}
        except OSError as error:
            yield folder, error
            continue
        yield folder, entries
        waiting += [os.path.join(folder, e.name) for e in entries.values() if e.is_dir(follow_symlinks=False)]
