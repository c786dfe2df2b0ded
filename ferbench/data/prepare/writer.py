"""A packed folder that is being made: images in slots, and a journal of what is in them.

The journal has a line per image and is written after the pixels are on disk. Whoever opens the folder again decodes
what has no line, or has another label, box or file than its line says.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Dataset, Sample, SplitName
from ferbench.data.prepare.decode import UNDECODABLE, decode_face, resized
from ferbench.data.prepare.decoders import in_order
from ferbench.errors import DataError
from ferbench.readers.paths import ImageFiles

JOURNAL, IMAGES = "journal.jsonl", "images.npy"
WORKERS = "workers.lock"
"""Writers of pixels hold this lock, so that a new run waits until those of a killed run are gone."""
CHUNK = 64
WRITTEN_TOGETHER = 8
"""Images per call: fewer cost the kernel more, and more would not stay in a processor's cache."""
SAVE_SECONDS = 0.5
"""How often pixels are brought to the disk, while decoding goes on."""
HEADER = 128
"""Bytes of the header of `images.npy`: NumPy pads it to a multiple of 64, with room for the number to grow."""
SPLITS = get_args(SplitName)
LABELS = (*EIGHT_CLASSES, "other")
Row = dict[str, Any]
Decoded = tuple[str, int, bytes]
"""Id and slot of an image, and its line of the journal."""
Chunk = tuple[int, Sequence[Sample]]
"""Samples, after the slot of the first of them."""
Results = list[bytes | Damage]
"""A line of the journal for each sample, or why it gives no image."""


class Packing:
    """The folder of an unfinished packed set; a context that closes its files."""

    def __init__(self, folder: Path, dataset: Dataset, size: int, *, keep: bool = True) -> None:
        """Open the folder, new or unfinished; without `keep` pixels are decoded and discarded."""
        self.keep = keep
        self.folder, self.dataset, self.size = folder, dataset, size
        self._image_bytes = size * size * 3
        folder.mkdir(exist_ok=True)
        with (folder / WORKERS).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._journal = (folder / JOURNAL).open("a+b")
        self._images = os.open(folder / IMAGES, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._known: dict[str, tuple[list[Any], int, int]] = {}
        """By id what a line was made of, its slot, and where it stands in the journal."""
        self.rows: dict[str, tuple[int, int]] = {}
        """By id the slot and the place in the journal of what the dataset has now."""
        self._unsaved: list[Decoded] = []
        self._saving: tuple[Future[None], list[Decoded]] | None = None
        """What is on its way to the disk."""
        self._disk = ThreadPoolExecutor(1)
        self._slots = 0
        self._read_journal()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._save()
        finally:
            self._disk.shutdown()
            os.close(self._images)
            self._journal.close()

    # -- decoding ----------------------------------------------------------------------------------------------------

    def decode(self, workers: int, progress: Callable[[int, int], None] | None = None) -> list[Damage]:
        """Decode every sample that has no line yet, in so many processes; returns what gives no image."""
        damages: list[Damage] = []
        saved = time.monotonic()
        images = self.folder / IMAGES if self.keep else Path(os.devnull)
        work = partial(decode_chunk, root=self.dataset.root, crop=self.dataset.crop, size=self.size, images=images)
        lock = self.folder / WORKERS
        for (first, samples), results in in_order(work, self._chunks(damages), workers, begin=partial(_hold, lock)):
            for slot, (sample, result) in enumerate(zip(samples, results, strict=True), first):
                if isinstance(result, Damage):
                    damages.append(result)
                else:
                    self._unsaved.append((sample.id, slot, result))
            if progress is not None:
                under_way = len(self._unsaved) + (len(self._saving[1]) if self._saving else 0)
                progress(len(self.rows) + under_way + len(damages), len(damages))
            if time.monotonic() - saved > SAVE_SECONDS and (self._saving is None or self._saving[0].done()):
                self._begin_to_save()
                saved = time.monotonic()
        self._save()
        return damages

    def _chunks(self, damages: list[Damage]) -> Iterator[Chunk]:
        samples = self._missing(damages)
        while some := list(islice(samples, CHUNK)):
            yield self._slots, some
            self._slots += len(some)

    def _missing(self, damages: list[Damage]) -> Iterator[Sample]:
        """The samples to decode; of the others the line is taken, or the damage noted."""
        seen: set[str] = set()
        for sample in read_samples(self.dataset):
            if isinstance(sample, Damage):
                damages.append(sample)
            elif reason := "this id occurs twice" if sample.id in seen else name_problem(sample):
                damages.append(Damage(where(sample), reason))
            else:
                seen.add(sample.id)
                known = self._known.get(sample.id)
                if known is not None and known[0] == _made_of(sample, self.dataset.crop):
                    self.rows[sample.id] = known[1:]
                else:
                    yield sample

    # -- the journal -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Note all decoded images."""
        self._begin_to_save()
        self._note_saved()

    def _begin_to_save(self) -> None:
        self._note_saved()
        self._saving = self._disk.submit(os.fdatasync, self._images), self._unsaved
        self._unsaved = []

    def _note_saved(self) -> None:
        """Note the images that were on their way to the disk, once they are there."""
        if self._saving is None:
            return
        on_disk, saved = self._saving
        on_disk.result()
        place = self._journal.seek(0, os.SEEK_END)
        for sample_id, slot, line in saved:
            self._journal.write(line)
            self.rows[sample_id] = slot, place
            place += len(line)
        self._journal.flush()
        self._saving = None

    def _read_journal(self) -> None:
        self._journal.seek(0)
        place = 0
        for line in self._journal:
            # A kill may have cut the last line, a loss of power may have left zeros; what follows would be lost.
            if (row := _journal_row(line)) is None:
                self._journal.truncate(place)
                break
            self._known[row["id"]] = row["made_of"], row["slot"], place
            self._slots = max(self._slots, row["slot"] + 1)
            place += len(line)

    def in_order(self) -> Iterator[Row]:
        """The rows in the order of the images."""
        return self._at(sorted(self.rows.values()))

    def by_id(self) -> Iterator[Row]:
        """The rows in the order of their ids."""
        return self._at([self.rows[sample_id] for sample_id in sorted(self.rows)])

    def _at(self, places: Iterable[tuple[int, int]]) -> Iterator[Row]:
        for _, place in places:
            self._journal.seek(place)
            yield json.loads(self._journal.readline())

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Leave `images.npy` whole, without gaps where damaged or replaced images were, and no journal."""
        slots = sorted(slot for slot, _ in self.rows.values())
        whole = self.folder / "whole.npy"
        whole.unlink(missing_ok=True)
        if slots != list(range(len(slots))):
            # Not in place: until the journal is gone, it must be true.
            with whole.open("wb") as file:
                file.write(_header(len(slots), self.size))
                for slot in slots:
                    file.write(os.pread(self._images, self._image_bytes, self._offset(slot)))
        else:
            os.truncate(self._images, self._offset(len(slots)))
            os.pwrite(self._images, _header(len(slots), self.size), 0)
        (self.folder / JOURNAL).unlink()
        (self.folder / WORKERS).unlink()
        if whole.exists():
            whole.replace(self.folder / IMAGES)

    def _offset(self, slot: int) -> int:
        return HEADER + slot * self._image_bytes


def decode_chunk(chunk: Chunk, root: Path | None, crop: float | None, size: int, images: Path) -> Results:
    """Decode samples into the file at their slots; a line of the journal for each, or why it gives no image."""
    files = ImageFiles(root)
    results: Results = []
    first, samples = chunk
    with images.open("r+b", buffering=0) as file:
        for start in range(0, len(samples), WRITTEN_TOGETHER):
            pixels: list[bytes | memoryview] = []
            for slot, sample in enumerate(samples[start : start + WRITTEN_TOGETHER], first + start):
                try:
                    image, row = decode_sample(sample, size, files, crop)
                except UNDECODABLE as error:
                    pixels.append(bytes(size * size * 3))
                    results.append(Damage(where(sample), _reason(error)))
                    continue
                pixels.append(image.data)
                results.append(json.dumps({**row, "slot": slot}).encode() + b"\n")
            place = HEADER + (first + start) * size * size * 3
            if os.pwritev(file.fileno(), pixels, place) < len(pixels) * size * size * 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return results


def decode_sample(
    sample: Sample, size: int, files: ImageFiles | None = None, crop: float | None = None
) -> tuple[np.ndarray, Row]:
    """Pixels (size, size, 3) uint8 and the manifest row; the box is scaled with the image."""
    made_of = _made_of(sample, crop)
    content = (files or ImageFiles(None)).read(sample)
    face = decode_face(content, sample.box, crop)
    scale = (size / face.image.width, size / face.image.height) * 2
    distribution = sample.label if isinstance(sample.label, Mapping) else None
    return resized(face.image, size), {
        "id": sample.id,
        "split": sample.split,
        "label": max(distribution, key=distribution.__getitem__) if distribution else sample.label,
        "label_distribution": list(distribution.items()) if distribution else None,
        "subject": sample.subject,
        "video": sample.video,
        "box": [value * factor for value, factor in zip(face.box, scale, strict=True)] if face.box else None,
        "sha256": hashlib.sha256(content).hexdigest(),
        "converted": face.converted,
        "made_of": made_of,
    }


def _journal_row(line: bytes) -> Row | None:
    """None for a line that is not whole."""
    try:
        row = json.loads(line)
        return row if line.endswith(b"\n") and {"id", "made_of", "slot"} <= row.keys() else None
    except (ValueError, AttributeError):
        return None


def read_samples(dataset: Dataset) -> Iterator[Sample | Damage]:
    """What the dataset's reader yields; a file that cannot be read is a DataError that names it."""
    try:
        yield from dataset.samples()
    except OSError as error:
        raise DataError(
            f"dataset '{dataset.info.name}': cannot be read ({error.filename or ''}: {error.strerror or error})"
        ) from None


def name_problem(sample: Sample) -> str | None:
    """What is wrong with the names that a sample has, if anything."""
    for kind, value in (("id", sample.id), ("subject", sample.subject), ("video", sample.video)):
        if value is not None and not value.isprintable():
            return f"this {kind} is no printable text"
    if sample.split not in SPLITS:
        return f"split '{sample.split}' must be one of {', '.join(SPLITS)}"
    if not isinstance(sample.label, Mapping):
        return None if sample.label is None or sample.label in LABELS else _no_class(sample.label)
    for name, share in sample.label.items():
        if name not in LABELS:
            return _no_class(name)
        if not 0 <= share < float("inf"):
            return f"label '{name}' has the share {share}"
    return None


def _no_class(name: str) -> str:
    return f"label '{name}' is no canonical class ({', '.join(LABELS)})"


def where(sample: Sample) -> str:
    """What names a sample for people."""
    return sample.id if isinstance(sample.image, bytes) else f"{sample.image} ({sample.id})"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _made_of(sample: Sample, crop: float | None) -> list[Any]:
    """What a line of the journal depends on; of a file its size and time stand for its content."""
    label = sorted(map(list, sample.label.items())) if isinstance(sample.label, Mapping) else sample.label
    box = list(sample.box) if sample.box else None
    made_of = [sample.split, label, sample.subject, sample.video, box, crop]
    if isinstance(sample.image, bytes):
        return [*made_of, hashlib.sha256(sample.image).hexdigest()]
    path = os.fspath(sample.image)
    try:
        found = os.stat(path)
    except OSError:
        return [*made_of, path]
    return [*made_of, path, found.st_size, found.st_mtime_ns]


def _hold(lock: Path) -> None:
    held = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)  # until this process ends
    fcntl.flock(held, fcntl.LOCK_SH)


def _header(n: int, size: int) -> bytes:
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    np.lib.format.write_array_header_1_0(buffer, header)
    assert buffer.tell() == HEADER
    return buffer.getvalue()
