"""Unlabeled pools of image files in folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.contract.dataset import Damage
from ferbench.readers.paths import IMAGE_SUFFIXES, is_hidden, real
from ferbench.readers.streams import NamedStream, Place


class FolderStream(NamedStream):
    """Image files in folders of any depth; links to folders are passed over, as is what is hidden."""

    def shards(self) -> Sequence[str]:
        found = []
        for folder, below, _ in os.walk(self.base):
            below[:] = [name for name in below if not is_hidden(name)]
            found.append(Path(folder).relative_to(self.base).as_posix())
        return sorted(found)

    def places(self, shard: str) -> Iterator[Place | Damage]:
        for entry in sorted(os.scandir(self.base / shard), key=lambda entry: entry.name):
            if not is_hidden(entry.name) and entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield from self._place(entry)

    def _place(self, entry: os.DirEntry[str]) -> Iterator[Place | Damage]:
        name = Path(entry.path).relative_to(self.base).as_posix()
        try:
            if entry.is_symlink():
                real(self.folder, Path(entry.path))
            if entry.is_file():
                yield Place(name, 0, entry.stat().st_size)
        except (OSError, ValueError) as error:
            yield Damage(name, str(error))

    def file(self, shard: str, image_id: str) -> Path:
        return self.base / image_id
