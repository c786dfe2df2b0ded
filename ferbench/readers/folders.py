"""Unlabeled pools of image files in folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench.readers.paths import IMAGE_SUFFIXES, folders_below, real, visible
from ferbench.readers.streams import NamedStream, Place


class FolderStream(NamedStream):
    """Image files in folders of any depth; links to folders and hidden files are skipped."""

    def shards(self) -> Sequence[str]:
        return sorted(folder.relative_to(self.base).as_posix() for folder in folders_below(self.base))

    def places(self, shard: str) -> Iterator[Place | Damage]:
        try:
            entries = visible(self.base / shard)
        except DataError as error:
            yield Damage("all", str(error))
            return
        for entry in entries:
            if entry.name.lower().endswith(IMAGE_SUFFIXES):
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
