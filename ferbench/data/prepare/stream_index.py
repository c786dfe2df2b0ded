"""The index of a streamed dataset: place and hashes of every usable image, found in one pass and stored.

An index is a folder with `images.arrow` (id, shard, offset, length, hashes; one row per image, in the order of the
shards), `damaged.txt` (shard, record and reason of the omitted records) and `meta.json`. It is read through a memory
map.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from ferbench.contract.dataset import Damage
from ferbench.data.cache import (
    cache_root,
    cached_file_digest,
    check_files,
    how_to_renew,
    is_usable,
    make_once,
    publish,
    read_meta,
    reading,
    write_meta,
)
from ferbench.data.image_hashes import CHUNK, Hashes, hash_images, pixels_digest
from ferbench.data.prepare.decode import UNDECODABLE, decode_face, resized
from ferbench.data.prepare.decoders import in_order
from ferbench.data.prepare.pack import problem_text
from ferbench.errors import DataError
from ferbench.readers.account import refuse_unused, take_account
from ferbench.readers.streams import StreamedDataset
from ferbench.records.cell import digest
from ferbench.records.formats import INDEX_VERSION
from ferbench.records.lease import Lease

PLACED = "images.arrow"
MOST_WORKERS = 8
PLACES = pyarrow.schema(
    [("id", pyarrow.string()), ("shard", pyarrow.int32()), ("offset", pyarrow.int64()), ("length", pyarrow.int64())]
)
IMAGES = PLACES.append(pyarrow.field("sha256", pyarrow.binary(32))).append(pyarrow.field("looks", pyarrow.binary(32)))


def worker_count() -> int:
    """Number of decoding processes: the processors of this process, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


class StreamReader:
    """Reads and decodes images of a streamed dataset; cheap to copy into a worker process."""

    def __init__(
        self, dataset: StreamedDataset, places: pyarrow.Table, image_size: int, index: Path | None = None
    ) -> None:
        self.dataset, self.image_size, self.index = dataset, image_size, index
        self.shards = list(dataset.shards())
        self._ids = places["id"]
        self._shard, self._offset, self._length = (places[name].to_numpy() for name in ("shard", "offset", "length"))
        self._sha256 = places["sha256"] if index else None
        self._open = lru_cache(maxsize=64)(_opened)

    def __len__(self) -> int:
        return len(self._shard)

    def where(self, row: int) -> str:
        """Shard and record of a row, as text."""
        shard = self.shards[self._shard[row]]
        return _record(shard, str(self._ids[row]).removeprefix(f"{shard}/"))

    def image(self, row: int) -> np.ndarray:
        """Current pixels (S, S, 3) uint8 of a row; raises one of `UNDECODABLE`."""
        shard = self.shards[self._shard[row]]
        file = self._open(self.dataset.file(shard, str(self._ids[row])))
        record = os.pread(file.fileno(), int(self._length[row]), int(self._offset[row]))
        return resized(decode_face(self.dataset.unwrap(record)).image, self.image_size)

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels (N, S, S, 3) uint8; raises DataError if an image has changed since the dataset was indexed."""
        images = np.empty((len(rows), self.image_size, self.image_size, 3), np.uint8)
        for i, row in enumerate(rows):
            try:
                images[i] = self.image(int(row))
                if self._sha256 is not None and pixels_digest(images[i]) != self._sha256[int(row)].as_py():
                    raise ValueError("its pixels are different")
            except UNDECODABLE as error:
                what = f"pool '{self.dataset.info.name}': {self.where(int(row))}"
                renew = how_to_renew(self.index) if self.index else "start again"
                raise DataError(f"{what} has changed since it was indexed ({error}); {renew}") from None
        return images


class StreamIndex:
    """An opened index; the counterpart of `ImageStore` for streams."""

    def __init__(self, dataset: StreamedDataset, folder: Path) -> None:
        self.folder = folder
        with reading(folder, "index of a pool"):
            self.meta = read_meta(folder)
            check_files(folder, self.meta, PLACED)
            self._table = _mapped(folder / PLACED)
        self.reader = StreamReader(dataset, self._table, int(self.meta["image_size"]), folder)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids and decoded pixels."""
        return str(self.meta["fingerprint"])

    @property
    def damaged(self) -> int:
        """Number of omitted records."""
        return int(self.meta["damaged"])

    def check(self) -> None:
        """Raises DamagedCacheError if a file of the index has changed since it was written."""
        check_files(self.folder, self.meta)

    @cached_property
    def ids(self) -> pyarrow.ChunkedArray:
        return self._table["id"]

    def hashes(self) -> Iterator[Hashes]:
        """The hashes of all images, in chunks."""
        for batch in self._table.to_batches(CHUNK):
            pixels, looks = (_bytes(batch[name]) for name in ("sha256", "looks"))
            yield Hashes(pixels, looks.view(np.uint64))


def index_folder(dataset: StreamedDataset, image_size: int) -> Path:
    """The folder of a dataset's index at a size, whether or not it exists."""
    key = digest([INDEX_VERSION, dataset.info.name, dataset.source_digest(), image_size])
    return cache_root() / "streams" / f"{dataset.info.name}-{image_size}px-{key[:12]}"


def ensure_index(dataset: StreamedDataset, image_size: int, *, renew: bool = False) -> StreamIndex:
    """The index, made now if it is missing: every image is found, decoded and hashed once.

    Raises DataError that names shard and record if one is damaged, unless the dataset skips damaged records; DataError
    if the index has the format of another ferbench version (`renew` makes it again instead).
    """
    folder = index_folder(dataset, image_size)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        make_once(
            folder.with_name(f"{folder.name}.lease"),
            partial(is_usable, folder, renew=renew),
            partial(_write, dataset, image_size, folder),
        )
    except OSError as error:
        raise DataError(
            f"{folder}: cannot index pool '{dataset.info.name}' ({error.strerror or error}); "
            "free space, check the files of the dataset, or set FERBENCH_CACHE"
        ) from None
    return StreamIndex(dataset, folder)


def _write(dataset: StreamedDataset, image_size: int, folder: Path, lease: Lease) -> None:
    if not dataset.account.is_complete:  # `prepare` has completed and shown it
        take_account(dataset)
        refuse_unused(dataset)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        damaged = _find(dataset, scratch / "places.arrow")
        _stop_at_damage(dataset, damaged)  # before hours of decoding
        n, fingerprint = _hash(dataset, image_size, scratch, damaged)
        _stop_at_damage(dataset, damaged)
        if not n:
            raise DataError(
                f"dataset '{dataset.info.name}': no images found in {dataset.root}; is the folder complete?"
            )
        (scratch / "damaged.txt").write_text("".join(f"{damage}\n" for damage in damaged), "utf-8")
        about = {"fingerprint": fingerprint, "image_size": image_size, "images": n, "damaged": len(damaged)}
        (scratch / "places.arrow").unlink()
        write_meta(scratch, about, {path.name: cached_file_digest(path) for path in scratch.iterdir()})
        lease.renew()
        publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _stop_at_damage(dataset: StreamedDataset, damaged: list[Damage]) -> None:
    if damaged and dataset.on_bad_record == "stop":
        raise DamagedRecords(dataset, damaged)


class DamagedRecords(DataError):
    """A stream was read completely, and some of its records could not be used."""

    def __init__(self, dataset: StreamedDataset, damages: list[Damage]) -> None:
        super().__init__(f"{problem_text(dataset.info.name, damages)}\nor {dataset.how_to_skip}")
        self.damages = damages


def _find(dataset: StreamedDataset, path: Path) -> list[Damage]:
    """Write the places of the images; return the damages that the archives show without decoding."""
    damaged: list[Damage] = []

    def rows() -> Iterator[dict[str, Any]]:
        for number, shard in enumerate(dataset.shards()):
            for place in dataset.readable_places(shard):
                if isinstance(place, Damage):
                    damaged.append(Damage(_record(shard, place.record), _visible(place.reason)))
                elif not place.id.isprintable():  # could contain terminal codes, line breaks or invalid text
                    damaged.append(Damage(_record(shard, place.id), "the name is not printable text"))
                else:
                    yield {"shard": number, **place.__dict__}

    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, PLACES) as writer:
        found = rows()
        while some := list(islice(found, CHUNK)):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(some, schema=PLACES))
    return damaged


def _hash(dataset: StreamedDataset, image_size: int, folder: Path, damaged: list[Damage]) -> tuple[int, str]:
    """Decode every image in worker processes and write the usable ones; return their number and fingerprint."""
    places = _mapped(folder / "places.arrow")
    reader = StreamReader(dataset, places, image_size)
    n_chunks = -(-len(reader) // CHUNK)
    chunks = in_order(partial(_read_chunk, reader), range(n_chunks), worker_count())
    n, content = 0, hashlib.sha256()
    with pyarrow.OSFile(str(folder / PLACED), "wb") as sink, pyarrow.ipc.new_file(sink, IMAGES) as writer:
        for _, (rows, hashes, problems) in chunks:
            damaged += problems
            batch = places.take(rows).combine_chunks()
            pixels, looks = ([bytes(row) for row in array.view(np.uint8)] for array in (hashes.pixels, hashes.looks))
            for image_id, sha in zip(batch["id"].to_pylist(), pixels, strict=True):
                content.update(json.dumps([image_id, sha.hex()]).encode())
            columns = [*batch.columns, *(pyarrow.array(column, pyarrow.binary(32)) for column in (pixels, looks))]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=IMAGES))
            n += len(rows)
    return n, content.hexdigest()


def _read_chunk(reader: StreamReader, chunk: int) -> tuple[NDArray[np.int64], Hashes, list[Damage]]:
    """The rows of a chunk that can be decoded, their hashes, and the damages of the others."""
    images, rows, problems = [], [], []
    for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(reader))):
        try:
            images.append(reader.image(row))
            rows.append(row)
        except UNDECODABLE as error:
            problems.append(Damage(reader.where(row), str(error)))
    size = reader.image_size
    stacked = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    return np.array(rows, np.int64), hash_images(stacked), problems


def _record(shard: str, name: str) -> str:
    return f"{_visible(shard)}, record {_visible(name)}"


def _visible(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _mapped(path: Path) -> pyarrow.Table:
    with pyarrow.memory_map(str(path)) as source:
        return pyarrow.ipc.open_file(source).read_all()


def _bytes(column: pyarrow.Array) -> NDArray[np.uint8]:
    """A column of 32-byte values as (N, 32) uint8."""
    start = column.offset * 32
    return np.frombuffer(column.buffers()[1], np.uint8)[start : start + len(column) * 32].reshape(-1, 32)
