"""Sets too large for memory: archives and folders whose images are read one by one where they lie.

Anybody's files become such a set under a name that the user gives, or by a `dataset.json` with `"stream"`:
`webdataset`, `recordio` or `folder`. A published pool is a subclass that says what it is and where its images lie. Only
Python's own struct and tarfile read the archives, and no link is followed out of the root.
"""

import hashlib
import os
import struct
import tarfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.dataset import DESCRIPTION, Damage, Dataset, DatasetInfo, Sample, read_description, tree_digest
from ferbench.contract.layout import IMAGE_SUFFIXES, MAX_FILE, inside, quoted, real
from ferbench.errors import DataError, UsageError, suggestion

ALL = 2**62
BAD_TAR = (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError)
"""What tarfile raises for headers that are damaged, or made to break it."""


@dataclass(frozen=True)
class Place:
    """Where the record of an image lies: `length` bytes from `offset` of a file of the shard."""

    id: str
    offset: int
    length: int


class StreamedDataset(Dataset):
    """An unlabeled set that is never packed: its images are found once, then decoded as training asks for them.

    A record that is damaged or cut short stops with a list of what the archives show before anything is decoded, and
    with one of what cannot be decoded.
    """

    how_to_skip: str = "leave them out with ferbench prepare --on-bad-record skip"

    @abstractmethod
    def shards(self) -> Sequence[str]:
        """Names of the shards in an order that stays; what is read one after another lies in one of them."""

    @abstractmethod
    def places(self, shard: str) -> Iterator[Place | Damage]:
        """Every image of a shard in the order that it is stored in, and what is known to be damaged."""

    @abstractmethod
    def file(self, shard: str, image_id: str) -> Path:
        """The file that the bytes of a place lie in."""

    def unwrap(self, record: bytes) -> bytes:
        """The encoded image within the bytes of a place; raises ValueError where the record is damaged."""
        return record

    def readable_places(self, shard: str) -> Iterator[Place | Damage]:
        """What `places` gives; a place that is larger than any image is Damage, as reading it would fill the memory."""
        for place in self.places(shard):
            if isinstance(place, Place) and not 0 <= place.length <= MAX_FILE:
                yield Damage(place.id, f"has {place.length} bytes, which no image has (at most {MAX_FILE})")
            else:
                yield place

    def samples(self) -> Iterator[Sample | Damage]:
        for shard in self.shards():
            for place in self.readable_places(shard):
                yield self._sample(shard, place) if isinstance(place, Place) else place

    def _sample(self, shard: str, place: Place) -> Sample | Damage:
        try:
            return Sample(place.id, self.unwrap(self._bytes(shard, place)), "unlabeled")
        except (OSError, ValueError) as error:
            return Damage(place.id, str(error))

    def source_digest(self) -> str:
        """Of the files and of what is asked to be done with damaged ones."""
        return hashlib.sha256(f"{self.on_bad_record} {tree_digest(self.folder)}".encode()).hexdigest()

    def _bytes(self, shard: str, place: Place) -> bytes:
        with self.file(shard, place.id).open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)


class NamedStream(StreamedDataset):
    """Files of one kind, as anybody may have them; a subclass for a published pool is described and needs no name."""

    needs_name = True
    described: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        if self.described is not None:
            return self.described
        if not self.name:
            raise UsageError("this pool needs a name of yours; prepare it with --name MINE")
        return DatasetInfo(self.name, self.name, "", classes={}, default_classes="", family=self.name)

    def locate(self) -> Path:
        """The folder within the root that is read, and that shards and ids are named from."""
        return self.folder

    @cached_property
    def base(self) -> Path:
        """What `locate` finds, without links; raises DataError where they lead out of the root."""
        try:
            return inside(self.folder, self.locate())
        except ValueError as error:
            raise DataError(str(error)) from None


class _Archives(NamedStream):
    """Files with one suffix, at any depth."""

    SUFFIX: ClassVar[str]

    def shards(self) -> Sequence[str]:
        found = (path.relative_to(self.base) for path in self.base.rglob(f"*{self.SUFFIX}") if path.name[0] != ".")
        if not (names := sorted(path.as_posix() for path in found)):
            raise DataError(f"{self.base}: no file *{self.SUFFIX} here or below; name the folder that has them")
        return names

    def places(self, shard: str) -> Iterator[Place | Damage]:
        try:
            path = real(self.folder, self.base / shard)
        except (OSError, ValueError) as error:
            yield Damage("all", str(error))
            return
        yield from self._records(shard, path)

    @abstractmethod
    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        """The places of an archive that lies at `path`."""

    def file(self, shard: str, image_id: str) -> Path:
        return self.base / shard


class WebDatasetStream(_Archives):
    """Tar files (`00000.tar`, ...) whose members are images; other members, such as labels, are passed over."""

    SUFFIX = ".tar"

    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        size, last = path.stat().st_size, "the beginning"
        try:
            with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                    if member.size < 0:  # the next header would be sought before this one, for ever
                        raise tarfile.ReadError(f"{quoted(member.name)} has {member.size} bytes")
                    last = member.name
                    if not (member.isfile() and member.name.lower().endswith(IMAGE_SUFFIXES)):
                        continue
                    if member.offset_data + member.size > size:
                        yield Damage(member.name, "the file is cut short within this record")
                        return
                    yield Place(f"{shard}/{member.name}", member.offset_data, member.size)
                # tarfile takes a header that is damaged or cut short for the end, which is a block of zeros.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    yield Damage(f"after {last}", "the file is cut short or damaged; what follows cannot be read")
        except BAD_TAR as error:
            yield Damage(f"after {last}", f"what follows cannot be read ({error})")


class RecordIOStream(_Archives):
    """MXNet's `train.rec` with `train.idx`, as face-recognition sets are published."""

    SUFFIX = ".rec"
    MAGIC: ClassVar[bytes] = struct.pack("<I", 0xCED7230A)
    LABELS: ClassVar[struct.Struct] = struct.Struct("<IfQQ")

    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        size = path.stat().st_size
        index = (self.base / shard).with_suffix(".idx")
        keys, offsets = self._index(index)
        try:
            images = self._image_keys(path, keys, offsets)
        except ValueError as error:
            yield Damage("0", f"{error}; every other key is taken for an image")
            images = range(1, ALL)
        yield from _missing(index.name, keys, images)
        ends = np.append(offsets[1:], size).clip(max=size)
        for key, offset, end in zip(keys, offsets, ends, strict=True):
            if offset >= size:
                lost = int((offsets >= size).sum())
                yield Damage(str(key), f"the file is cut short before this record; {lost} record(s) are lost")
                return
            if int(key) in images:
                length = self._length(path, int(offset), int(end - offset), last=end == size)
                yield Place(f"{shard}/{key}", int(offset), length)
        if images.stop == ALL and len(keys) and (left := size - self._end(path, int(offsets[-1]), size)) > 0:
            yield Damage(f"after {keys[-1]}", f"{index.name} names nothing of the last {left:,} bytes; copy it again")

    def unwrap(self, record: bytes) -> bytes:
        payload = self._payload(record)
        if len(payload) < self.LABELS.size:
            raise ValueError(f"a record of {len(payload)} bytes has no room for its labels")
        flag, *_ = self.LABELS.unpack_from(payload)
        return payload[self.LABELS.size + 4 * flag :]  # `flag` further labels come before the image

    def _index(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys and offsets, in the order of offsets."""
        try:
            keys, offsets = np.loadtxt(real(self.folder, path), dtype=np.int64, ndmin=2, unpack=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not an index of keys and offsets ({error}); copy it again") from None
        order = np.argsort(offsets, kind="stable")
        return keys[order], offsets[order]

    def _image_keys(self, path: Path, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> range:
        """Record 0 of a face-recognition set has no image but labels: one past the last image comes first."""
        if not len(first := offsets[keys == 0]):
            return range(ALL)
        with path.open("rb") as file:
            file.seek(int(first[0]))
            record = file.read(8 + self.LABELS.size + 4)
        if record[:4] != self.MAGIC or len(record) < 8 + self.LABELS.size + 4:
            raise ValueError("no record begins here")
        flag, *_ = self.LABELS.unpack_from(record, 8)
        (end,) = struct.unpack_from("<f", record, 8 + self.LABELS.size)
        if flag and not 1 <= end < ALL:  # nor is it so for NaN
            raise ValueError(f"one past the last image is {end}")
        return range(1, int(end)) if flag else range(ALL)

    def _length(self, path: Path, offset: int, span: int, *, last: bool) -> int:
        """Bytes of the record at `offset`, of which the next one that the index names is `span` bytes away.

        Of the last record, and where records were lost from the index, the span is too long; the record's own length is
        taken, where it is not in parts. To look at that of every record would read the file twice.
        """
        if offset < 0 or not (last or span > MAX_FILE):
            return span
        with path.open("rb") as file:
            file.seek(offset)
            start = file.read(8)
        kind, length = self._part(start) or (None, 0)
        return min(8 + length, span) if kind == 0 else span

    def _end(self, path: Path, offset: int, size: int) -> int:
        """Where the record at `offset` ends with all its parts; `size` where no record is found."""
        kind = 1
        with path.open("rb") as file:
            while kind not in (0, 3):
                file.seek(offset)
                if (part := self._part(file.read(8))) is None:
                    return size
                kind, length = part
                offset += 8 + length + -length % 4
        return offset

    def _part(self, start: bytes) -> tuple[int, int] | None:
        """Kind and length of the part that begins with these 8 bytes; None where none begins."""
        if start[:4] != self.MAGIC or len(start) < 8:
            return None
        (word,) = struct.unpack_from("<I", start, 4)
        return word >> 29, word & (2**29 - 1)

    def _payload(self, record: bytes) -> bytes:
        """The parts of a record put together; where they were cut, the magic number was left out."""
        parts, at = [], 0
        while True:
            if (part := self._part(record[at : at + 8])) is None:
                raise ValueError("no record begins here" if at == 0 else "a part of this record is missing")
            kind, length = part
            parts.append(record[at + 8 : at + 8 + length])
            if len(parts[-1]) < length:
                raise ValueError(f"cut short: {len(parts[-1])} of {length} bytes")
            if kind in (0, 3):
                return self.MAGIC.join(parts)
            at += 8 + length + -length % 4


def _missing(name: str, keys: NDArray[np.int64], images: range) -> Iterator[Damage]:
    """One entry for all images that the index `name` has no key for, where it is known how many there are."""
    if images.stop == ALL:
        return
    # The end is written as a float32, which is not exact above 2**24.
    stop = images.stop - int(np.spacing(np.float32(images.stop)) / 2)
    found = np.unique(keys[(keys >= images.start) & (keys < stop)])
    if lost := stop - images.start - len(found):
        # Without a gap both would be the number of each key that is found.
        before = found == images.start + np.arange(len(found))
        behind = found == stop - len(found) + np.arange(len(found))
        first = images.start + int(before.sum())
        last = stop - 1 - int(behind.sum())
        text = f"{name} has no place of {lost:,} of {stop - images.start:,} images; copy it again"
        yield Damage(str(first) if lost == 1 else f"{first} to {last}", text)


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


STREAMS: Mapping[str, type[NamedStream]] = {
    "webdataset": WebDatasetStream,
    "recordio": RecordIOStream,
    "folder": FolderStream,
}


def is_stream(root: Path) -> bool:
    """Whether the folder's description asks for a stream."""
    return "stream" in read_description(root)[1]


def open_stream(root: Path) -> StreamedDataset:
    """The streamed set that the folder's description asks for."""
    folder, description, info = read_description(root)
    kind = str(description["stream"])
    if kind not in STREAMS:
        raise DataError(
            f"{folder / DESCRIPTION}: stream is '{kind}'; write {', '.join(STREAMS)}{suggestion(kind, STREAMS)}"
        )
    asked = str(description.get("on_bad_record", "stop"))
    if asked not in ("stop", "skip"):
        raise DataError(f"{folder / DESCRIPTION}: on_bad_record is '{asked}'; write stop or skip")
    dataset = STREAMS[kind](folder, info.name)
    dataset.described = info
    dataset.on_bad_record = "skip" if asked == "skip" else "stop"
    dataset.how_to_skip = f'write "on_bad_record": "skip" into its {DESCRIPTION}'
    return dataset
