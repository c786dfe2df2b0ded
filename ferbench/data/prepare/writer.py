"""Decode a dataset into parts: an `.npy` file of pixels and a `.parquet` file of rows, each written atomically.

The name of a part depends on its content. So a second run reuses the finished parts and decodes only the others, such
as the part with a repaired image.
"""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Dataset, Sample, SplitName
from ferbench.data.cache import cache_hash, cached_file_digest
from ferbench.data.prepare.decode import UNDECODABLE, decode_face, resized
from ferbench.data.prepare.decoders import in_order
from ferbench.errors import DataError
from ferbench.readers.paths import ImageFiles
from ferbench.readers.text import storable
from ferbench.records.cell import canonical_json, digest
from ferbench.records.files import TEMPORARY_SUFFIX

PART = 256
"""Images per part: 38 MB at 224 pixels in the memory of a process, and one second of work that is lost by a kill."""
WRITTEN_TOGETHER = 2**18
"""Bytes per write: more would not fit a processor's cache and would be eight times as slow."""
SPLITS = get_args(SplitName)
LABELS = (*EIGHT_CLASSES, "other")
FINGERPRINT_COLUMNS = ("id", "split", "label", "label_distribution", "subject", "video", "box", "sha256")
"""Columns of version 1 of the content fingerprint; a new column of the manifest does not change fingerprints."""
MANIFEST_SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("split", pyarrow.string()),
        ("label", pyarrow.string()),
        ("label_distribution", pyarrow.map_(pyarrow.string(), pyarrow.float32())),
        ("subject", pyarrow.string()),
        ("video", pyarrow.string()),
        ("box", pyarrow.list_(pyarrow.float32(), 4)),
        ("sha256", pyarrow.string()),
    ]
)
PART_SCHEMA = MANIFEST_SCHEMA.append(pyarrow.field("converted", pyarrow.string())).append(
    pyarrow.field("content", pyarrow.string())
)
"""`content` is the row as the fingerprint uses it: votes and shares are written differently there."""
DIGEST, DAMAGES = b"digest of pixels", b"damages"
DecodingProgress = Callable[[int, int], None]
"""Called with the number of samples so far, and the number of unusable ones."""
Row = dict[str, Any]
Buffer = bytes | memoryview


@dataclass(frozen=True)
class Part:
    """A finished part: files of pixels and rows, number of images, digest of the pixels, and damages."""

    pixels: Path
    rows: Path
    images: int
    digest: str
    damages: Sequence[Damage]


def write_parts(
    dataset: Dataset,
    size: int,
    folder: Path,
    workers: int,
    progress: DecodingProgress | None = None,
    *,
    keep: bool = True,
) -> tuple[list[Part], list[Damage]]:
    """Decode all samples in `workers` processes; return the parts in order, and the damages.

    Parts that already exist in the folder are reused. Without `keep`, pixels are decoded and discarded.
    """
    folder.mkdir(exist_ok=True)
    pyarrow.array([])  # imports pandas here once, not in each process
    damages: list[Damage] = []
    parts: list[Part] = []
    looked_at = 0
    work = partial(_write_part, root=dataset.root, crop=dataset.crop, size=size, folder=folder, keep=keep)
    for (_, samples), part in in_order(work, enumerate(_in_parts(dataset, damages)), workers):
        parts.append(part)
        damages += part.damages
        looked_at += len(samples)
        if progress is not None:
            progress(looked_at, len(damages))
    _remove_others(folder, parts)
    return [part for part in parts if part.images], sorted(damages, key=lambda damage: damage.record)


def _in_parts(dataset: Dataset, damages: list[Damage]) -> Iterator[list[Sample]]:
    """Samples with bytes in the given order; then files, in an order that is independent of their classes.

    The part of a file depends on its name and on the number of parts, so one more file changes only one part.
    """
    encoded: list[Sample] = []
    files: list[Sample] = []
    for sample in _usable(dataset, damages):
        if not isinstance(sample.image, bytes):
            files.append(sample)
            continue
        encoded.append(sample)
        if len(encoded) == PART:
            yield encoded
            encoded = []
    if encoded:
        yield encoded
    count = -(-len(files) // PART)
    buckets: list[list[tuple[int, Sample]]] = [[] for _ in range(count)]
    for sample in files:
        place = int.from_bytes(hashlib.sha256(sample.id.encode()).digest()[:8])
        buckets[place * count >> 64].append((place, sample))
    for bucket in buckets:
        yield [sample for _, sample in sorted(bucket, key=lambda entry: entry[0])]


def _usable(dataset: Dataset, damages: list[Damage]) -> Iterator[Sample]:
    """The samples with valid names; the others are added to `damages`."""
    seen: set[str] = set()
    for sample in read_samples(dataset):
        if isinstance(sample, Damage):
            damages.append(sample)
        elif reason := "this id occurs twice" if sample.id in seen else name_problem(sample):
            damages.append(Damage(where(sample), reason))
        else:
            seen.add(sample.id)
            yield sample


def _write_part(
    part: tuple[int, Sequence[Sample]], root: Path | None, crop: float | None, size: int, folder: Path, keep: bool
) -> Part:
    """Decode a part into its two files, or reuse the existing files."""
    number, samples = part
    key = digest([size, *(_made_of(sample, crop) for sample in samples)])
    stem = folder / f"part-{number:05d}-{key[:16]}"
    pixels, rows = stem.with_suffix(".npy"), stem.with_suffix(".parquet")
    if (finished := _finished(pixels, rows)) is not None:
        return finished
    images, found, damages = _decoded(samples, size, ImageFiles(root), crop)
    content_digest = _put(pixels, _header(images.shape), images.reshape(-1).data) if keep else ""
    notes = {DIGEST: content_digest, DAMAGES: json.dumps([[damage.record, damage.reason] for damage in damages])}
    table = pyarrow.Table.from_pylist(found, schema=PART_SCHEMA.with_metadata(notes))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    _put(rows, buffer.getbuffer())  # last: if this file exists, the part is finished
    return Part(pixels, rows, len(found), content_digest, damages)


def _decoded(
    samples: Sequence[Sample], size: int, files: ImageFiles, crop: float | None
) -> tuple[np.ndarray, list[Row], list[Damage]]:
    images = np.empty((len(samples), size, size, 3), np.uint8)
    rows: list[Row] = []
    damages = []
    for sample in samples:
        try:
            image, row = decode_sample(sample, size, files, crop)
        except UNDECODABLE as error:
            damages.append(Damage(where(sample), _reason(error)))
            continue
        images[len(rows)] = image
        rows.append(row)
    return images[: len(rows)], rows, damages


def _finished(pixels: Path, rows: Path) -> Part | None:
    """The part from an earlier run, or None unless it is complete; a power failure may have damaged the pixels."""
    try:
        notes = pyarrow.parquet.read_schema(rows).metadata or {}
        damages = [Damage(*entry) for entry in json.loads(notes[DAMAGES])]
        content_digest = notes[DIGEST].decode()
        if cached_file_digest(pixels) != content_digest:
            return None
        return Part(pixels, rows, pyarrow.parquet.read_metadata(rows).num_rows, content_digest, damages)
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):
        return None


def _put(path: Path, *content: Buffer) -> str:
    """Write a file atomically and return its digest, which reveals damage by a power failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    content_digest = cache_hash()
    try:
        with temporary.open("wb", buffering=0) as file:
            for piece in content:
                for start in range(0, len(piece), WRITTEN_TOGETHER):
                    some = piece[start : start + WRITTEN_TOGETHER]
                    if file.write(some) < len(some):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    content_digest.update(some)
        temporary.rename(path)
        return content_digest.hexdigest()
    finally:
        temporary.unlink(missing_ok=True)


def _header(shape: Sequence[int]) -> bytes:
    """The header of an `.npy` file of uint8."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    return buffer.getvalue()


def _remove_others(folder: Path, parts: Sequence[Part]) -> None:
    """Delete the files of earlier runs that do not belong to these parts."""
    kept = {path for part in parts for path in (part.pixels, part.rows)}
    for path in set(folder.iterdir()) - kept:
        path.unlink()


def decode_sample(
    sample: Sample, size: int, files: ImageFiles | None = None, crop: float | None = None
) -> tuple[np.ndarray, Row]:
    """Pixels (size, size, 3) uint8 and the manifest row; the box is scaled with the image."""
    encoded = (files or ImageFiles(None)).read(sample)
    face = decode_face(encoded, sample.box, crop)
    scale = (size / face.image.width, size / face.image.height) * 2
    distribution = sample.label if isinstance(sample.label, Mapping) else None
    row = {
        "id": sample.id,
        "split": sample.split,
        "label": max(distribution, key=distribution.__getitem__) if distribution else sample.label,
        "label_distribution": list(distribution.items()) if distribution else None,
        "subject": sample.subject,
        "video": sample.video,
        "box": [value * factor for value, factor in zip(face.box, scale, strict=True)] if face.box else None,
        "sha256": hashlib.sha256(encoded).hexdigest(),
    }
    content = canonical_json([row[name] for name in FINGERPRINT_COLUMNS]).decode()
    return resized(face.image, size), {**row, "converted": face.converted, "content": content}


def read_samples(dataset: Dataset) -> Iterator[Sample | Damage]:
    """The entries of the dataset's reader; raises DataError that names the file if it cannot be read."""
    try:
        yield from dataset.samples()
    except OSError as error:
        raise DataError(
            f"dataset '{dataset.info.name}': cannot be read ({error.filename or ''}: {error.strerror or error})"
        ) from None


def name_problem(sample: Sample) -> str | None:
    """The problem with the id, groups, split or label of a sample, or None."""
    for kind, value in (("id", sample.id), ("subject", sample.subject), ("video", sample.video)):
        if value is not None and not value.isprintable():
            return f"this {kind} is not printable text"
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
    return f"label '{name}' is not a canonical class ({', '.join(LABELS)})"


def where(sample: Sample) -> str:
    """The name of a sample in messages."""
    return sample.id if isinstance(sample.image, bytes) else f"{sample.image} ({sample.id})"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _made_of(sample: Sample, crop: float | None) -> list[Any]:
    """The values that determine a row and its pixels; a file is represented by its size and time of change."""
    label = list(sample.label.items()) if isinstance(sample.label, Mapping) else sample.label
    box = list(sample.box) if sample.box else None
    made_of = [sample.id, sample.split, label, sample.subject, sample.video, box, crop]
    if isinstance(sample.image, bytes):
        return [*made_of, hashlib.sha256(sample.image).hexdigest()]
    path = os.fspath(sample.image)
    name = storable(path)
    try:
        found = os.stat(path)
    except OSError:
        return [*made_of, name]
    return [*made_of, name, found.st_size, found.st_mtime_ns]
