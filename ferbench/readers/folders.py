"""Unlabeled pools of image files in folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.contract.dataset import Damage
from ferbench.readers.paths import IMAGE_SUFFIXES, real
from ferbench.readers.streams import NamedStream, Place


class FolderStream(NamedStream):
    """Image files in folders of any depth; links to folders are passed over, as are hidden files."""

    def shards(self) -> Sequence[str]:
        return sorted(Path(folder).relative_to(self.base).as_posix() for folder, _, _ in os.walk(self.base))

    def places(self, shard: str) -> Iterator[Place | Damage]:
        for entry in sorted(os.scandir(self.base / shard), key=lambda entry: entry.name):
            if entry.name[0] != "." and entry.name.lower().endswith(IMAGE_SUFFIXES):
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
