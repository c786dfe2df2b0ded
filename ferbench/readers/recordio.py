"""Unlabeled pools in RecordIO files, the format in which face-recognition datasets are published."""

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench.readers.paths import MAX_FILE, real
from ferbench.readers.streams import ArchiveStream, Place

ALL = 2**62


class RecordIOStream(ArchiveStream):
    """MXNet's `train.rec` with `train.idx`, the format in which face-recognition datasets are published."""

    SUFFIX = ".rec"
    MAGIC: ClassVar[bytes] = struct.pack("<I", 0xCED7230A)
    LABELS: ClassVar[struct.Struct] = struct.Struct("<IfQQ")

    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        size = path.stat().st_size
        index = (self.base / shard).with_suffix(".idx")
        self.account.use(index, "index")
        keys, offsets = self._index(index)
        try:
            images = self._image_keys(path, keys, offsets)
        except ValueError as error:
            yield Damage("0", f"{error}; every other key is assumed to be an image")
            images = range(1, ALL)
        yield from missing_images(index.name, keys, images)
        ends = np.append(offsets[1:], size).clip(max=size)
        for key, offset, end in zip(keys, offsets, ends, strict=True):
            if offset >= size:
                lost = int((offsets >= size).sum())
                yield Damage(str(key), f"the file is truncated before this record; {lost} record(s) are lost")
                return
            if int(key) in images:
                length = self._length(path, int(offset), int(end - offset), last=end == size)
                yield Place(f"{shard}/{key}", int(offset), length)
            else:
                self.account.ignore("record", f"{shard}/{key}", "the header or labels of a person, without an image")
        if images.stop == ALL and len(keys) and (left := size - self._end(path, int(offsets[-1]), size)) > 0:
            yield Damage(f"after {keys[-1]}", f"{index.name} does not cover the last {left:,} bytes; copy it again")

    def unwrap(self, record: bytes) -> bytes:
        payload = self._payload(record)
        if len(payload) < self.LABELS.size:
            raise ValueError(f"a record of {len(payload)} bytes is too short for its labels")
        flag, *_ = self.LABELS.unpack_from(payload)
        return payload[self.LABELS.size + 4 * flag :]  # `flag` further labels come before the image

    def _index(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys and offsets, both (N,), sorted by offset."""
        try:
            with warnings.catch_warnings(action="ignore"):  # numpy's warning about an empty file; reported below
                keys, offsets = np.loadtxt(real(self.folder, path), dtype=np.int64, ndmin=2, unpack=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not an index of keys and offsets ({error}); copy it again") from None
        order = np.argsort(offsets, kind="stable")
        return keys[order], offsets[order]

    def _image_keys(self, path: Path, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> range:
        """The keys of images. Record 0 of a face-recognition dataset is a header: its label is the end of the keys."""
        if not len(first := offsets[keys == 0]):
            return range(ALL)
        record = _bytes_at(path, int(first[0]), 8 + self.LABELS.size + 4)
        if record[:4] != self.MAGIC or len(record) < 8 + self.LABELS.size + 4:
            raise ValueError("no record begins here")
        flag, *_ = self.LABELS.unpack_from(record, 8)
        (end,) = struct.unpack_from("<f", record, 8 + self.LABELS.size)
        if flag and not 1 <= end < ALL:  # also true for NaN
            raise ValueError(f"one past the last image is {end}")
        return range(1, int(end)) if flag else range(ALL)

    def _length(self, path: Path, offset: int, span: int, *, last: bool) -> int:
        """Length in bytes of the record at `offset`; the next indexed record starts `span` bytes later.

        For the last record, and if the index lacks records, the span is too long; then the length in the record is
        used, unless the record is stored in parts. Reading the length of every record would read the file twice.
        """
        if offset < 0 or not (last or span > MAX_FILE):
            return span
        kind, length = self._part(_bytes_at(path, offset, 8)) or (None, 0)
        return min(8 + length, span) if kind == 0 else span

    def _end(self, path: Path, offset: int, size: int) -> int:
        """The end of the record at `offset` with all its parts; `size` if no record begins there."""
        kind = 1
        while kind not in (0, 3):
            if (part := self._part(_bytes_at(path, offset, 8))) is None:
                return size
            kind, length = part
            offset += 8 + length + -length % 4
        return offset

    def _part(self, start: bytes) -> tuple[int, int] | None:
        """Kind and length of the part that begins with these 8 bytes; None if they do not begin a part."""
        if start[:4] != self.MAGIC or len(start) < 8:
            return None
        (word,) = struct.unpack_from("<I", start, 4)
        return word >> 29, word & (2**29 - 1)

    def _payload(self, record: bytes) -> bytes:
        """The joined parts of a record; writers split records at the magic number and omit it."""
        parts, at = [], 0
        while True:
            if (part := self._part(record[at : at + 8])) is None:
                raise ValueError("no record begins here" if at == 0 else "a part of this record is missing")
            kind, length = part
            parts.append(record[at + 8 : at + 8 + length])
            if len(parts[-1]) < length:
                raise ValueError(f"truncated: {len(parts[-1])} of {length} bytes")
            if kind in (0, 3):
                return self.MAGIC.join(parts)
            at += 8 + length + -length % 4


def _bytes_at(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def missing_images(name: str, keys: NDArray[np.int64], images: range) -> Iterator[Damage]:
    """One entry for all images that have no key in the index `name`, if the number of images is known."""
    if images.stop == ALL:
        return
    # The end is stored as a float32, which is not exact above 2**24.
    stop = images.stop - int(np.spacing(np.float32(images.stop)) / 2)
    found = np.unique(keys[(keys >= images.start) & (keys < stop)])
    if lost := stop - images.start - len(found):
        # `before` marks the keys before the first gap, `behind` those after the last gap.
        before = found == images.start + np.arange(len(found))
        behind = found == stop - len(found) + np.arange(len(found))
        first = images.start + int(before.sum())
        last = stop - 1 - int(behind.sum())
        text = f"{name} lacks {lost:,} of {stop - images.start:,} images; copy it again"
        yield Damage(str(first) if lost == 1 else f"{first} to {last}", text)
