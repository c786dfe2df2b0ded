"""Datasets too large for memory: archives and folders whose images are read one by one.

Any files become such a dataset if the user gives a name, or by a `dataset.json` with `"stream"`: `webdataset`,
`recordio` or `folder`. A published pool is a subclass with a description and the place of its images. Only Python's own
struct and tarfile read the archives, and no link is followed out of the root.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ferbench.contract.dataset import Damage, DatasetInfo, Sample, tree_digest
from ferbench.errors import DataError, UsageError
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import MAX_FILE, files_below, inside, real


@dataclass(frozen=True)
class Place:
    """The place of an image's record: `length` bytes from `offset` in a file of the shard."""

    id: str
    offset: int
    length: int


class StreamedDataset(LayoutReader):
    """An unlabeled dataset that is never packed: its images are indexed once, then decoded when training needs them.

    Damaged or truncated records stop the preparation with a list: first those that the archives show without decoding,
    later those that cannot be decoded.
    """

    how_to_skip: str = "omit them with ferbench prepare --on-bad-record skip"

    @abstractmethod
    def shards(self) -> Sequence[str]:
        """Names of the shards in a stable order; reads within one of them are sequential."""

    @abstractmethod
    def places(self, shard: str) -> Iterator[Place | Damage]:
        """Every image of a shard in the order of storage, and Damage for each record that is known to be damaged."""

    @abstractmethod
    def file(self, shard: str, image_id: str) -> Path:
        """The file that contains the bytes of an image."""

    def unwrap(self, record: bytes) -> bytes:
        """The encoded image in the bytes of a record; raises ValueError if the record is damaged."""
        return record

    def readable_places(self, shard: str) -> Iterator[Place | Damage]:
        """The places of a shard; places larger than `MAX_FILE` become Damage, because they would fill the memory."""
        for place in self.places(shard):
            if isinstance(place, Damage) and (pattern := self.account.ignored_by(f"{shard}/{place.record}")):
                self.account.ignore("entry", f"{shard}/{place.record}", f"--ignore {pattern}")
            elif isinstance(place, Place) and not 0 <= place.length <= MAX_FILE:
                yield Damage(place.id, f"has {place.length} bytes, more than the limit for an image ({MAX_FILE})")
            else:
                yield place

    def samples(self) -> Iterator[Sample | Damage]:
        for shard in self.shards():
            for place in self.readable_places(shard):
                yield self._sample(shard, place) if isinstance(place, Place) else place

    def _sample(self, shard: str, place: Place) -> Sample | Damage:
        try:
            with self.file(shard, place.id).open("rb") as file:
                file.seek(place.offset)
                return Sample(place.id, self.unwrap(file.read(place.length)), "unlabeled")
        except (OSError, ValueError) as error:
            return Damage(place.id, str(error))

    def source_digest(self) -> str:
        """Digest of the files and of `on_bad_record`."""
        return hashlib.sha256(f"{self.on_bad_record} {tree_digest(self.folder)}".encode()).hexdigest()


class NamedStream(StreamedDataset):
    """The user's own files of one kind. A subclass for a published pool has a description and needs no name."""

    needs_name = True
    described: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        if self.described is not None:
            return self.described
        if not self.name:
            raise UsageError("this pool needs a name; choose one with --name, e.g. --name my-pool")
        return DatasetInfo(self.name, self.name, "", classes={}, default_classes="", family=self.name)

    def locate(self) -> Path:
        """The folder below the root that is read; names of shards and ids are relative to it."""
        return self.folder

    @cached_property
    def base(self) -> Path:
        """The folder that `locate` returns, without links; raises DataError if they lead out of the root."""
        try:
            return inside(self.folder, self.locate())
        except ValueError as error:
            raise DataError(str(error)) from None


class ArchiveStream(NamedStream):
    """Archives with one suffix, at any depth."""

    SUFFIX: ClassVar[str]

    @property
    def data_suffixes(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.SUFFIX,)

    def shards(self) -> Sequence[str]:
        found = files_below(self.base, self.SUFFIX)
        if not (names := sorted(path.relative_to(self.base).as_posix() for path in found)):
            raise DataError(f"{self.base}: no file *{self.SUFFIX} here or below; name the folder that contains them")
        return names

    def places(self, shard: str) -> Iterator[Place | Damage]:
        try:
            path = real(self.folder, self.base / shard)
        except (OSError, ValueError) as error:
            yield Damage("all", str(error))
            return
        self.account.use(self.base / shard, "archive")
        yield from self._records(shard, path)

    @abstractmethod
    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        """The places in the archive at `path`."""

    def file(self, shard: str, image_id: str) -> Path:
        return self.base / shard
