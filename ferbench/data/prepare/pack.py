"""Decode a dataset once, into a packed folder.

A packed folder contains parts of pixels (`part-*.npy`: uint8, n x S x S x 3, memory-mapped when read),
`manifest.parquet` with one row per image in the same order, and `meta.json` with counts, licence note, content
fingerprint and the digest of every other file. It is written under another name and then renamed, so an existing folder
is always complete. Images that were decoded before an interruption, or before the stop at damaged images, are not
decoded again.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import Damage, Dataset
from ferbench.data.cache import (
    META,
    cache_root,
    cached_file_digest,
    is_usable,
    make_once,
    publish,
    read_meta,
    reading,
    write_meta,
)
from ferbench.data.prepare.writer import MANIFEST_SCHEMA, PART_SCHEMA, DecodingProgress, Part, write_parts
from ferbench.errors import DataError, listed
from ferbench.readers.text import storable
from ferbench.records.cell import digest
from ferbench.records.formats import CACHE_FORMAT, FORMAT, PACK_VERSION
from ferbench.records.lease import Lease

MANIFEST = "manifest.parquet"
BATCH = 4096


class DamagedImages(DataError):
    """A dataset was read completely, and some of its entries could not be used."""

    def __init__(self, name: str, damages: list[Damage]) -> None:
        super().__init__(problem_text(name, damages))
        self.damages = damages


def packed_folder(dataset: Dataset, image_size: int) -> Path:
    """The folder of a dataset's packed copy at a size, whether or not it exists."""
    treatment: dict[str, Any] = {} if dataset.crop is None else {"crop": dataset.crop}
    if dataset.on_bad_record == "skip":
        treatment["damaged"] = "left out"
    parts = [PACK_VERSION, dataset.info.name, dataset.source_digest(), image_size]
    if dataset.info.rule:
        parts.append(dataset.info.rule)  # two readers may read the same folder, and a reader may be corrected
    key = digest([*parts, treatment] if treatment else parts)
    return cache_root() / "packed" / f"{dataset.info.name}-{image_size}px-{key[:12]}"


def find_packed(dataset: Dataset) -> Path | None:
    """A packed copy of a dataset at any size, or None; splits do not depend on the size."""
    wanted = dataset.source_digest(), dataset.info.rule, dataset.crop
    for path in sorted((cache_root() / "packed").glob(f"{dataset.info.name}-*px-*/{META}")):
        try:
            meta = read_meta(path.parent)
            found = meta["source_digest"], meta["rule"], meta.get("crop")
            complete = dataset.on_bad_record == "skip" or not meta["left_out"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the error is reported when this copy is opened
        if found == wanted and complete and meta.get(FORMAT) == CACHE_FORMAT:
            return path.parent
    return None


def ensure_packed(
    dataset: Dataset,
    image_size: int,
    *,
    workers: int = 1,
    progress: DecodingProgress | None = None,
    renew: bool = False,
) -> Path:
    """The packed folder, made now if it is missing or damaged; processes that need the same folder wait for each other.

    Raises DamagedImages that lists all unusable entries, unless `dataset.on_bad_record` is `skip`; DataError if the
    folder has the format of another ferbench version (`renew` makes it again instead).
    """
    folder = packed_folder(dataset, image_size)
    if is_usable(folder, renew=renew):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The name does not depend on the state of the source: after a repair, only the repaired part is decoded.
        unfinished = f".{dataset.info.name}-{image_size}px"

        def make(lease: Lease) -> None:
            made = lease.claim(unfinished)
            _pack(dataset, image_size, made, workers, progress)
            lease.renew()
            publish(made, folder)
            for rows in folder.glob("part-*.parquet"):  # the manifest contains their rows
                rows.unlink()

        make_once(folder.with_name(f"{unfinished}.lease"), lambda: is_usable(folder, renew=renew), make)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the packed dataset ({error.strerror or error}); free space or set FERBENCH_CACHE"
        ) from None
    return folder


@dataclass(frozen=True)
class Inspection:
    """The result of reading a whole dataset: images by `split/class`, conversions to RGB, and unusable entries."""

    counts: Mapping[str, int]
    converted: Mapping[str, int]
    damages: Sequence[Damage]


def inspect(
    dataset: Dataset, image_size: int, *, workers: int = 1, progress: DecodingProgress | None = None
) -> Inspection:
    """Decode a whole dataset without writing anything to the cache."""
    with tempfile.TemporaryDirectory() as folder:
        parts, damages = write_parts(dataset, image_size, Path(folder), workers, progress, keep=False)
        return Inspection(*_counts(_rows(parts)), damages)


def read_inspection(folder: Path) -> Inspection:
    """The inspection that was stored when a packed folder was made."""
    with reading(folder, "packed dataset"):
        meta = read_meta(folder)
        return Inspection(meta["counts"], meta["converted"], [Damage(*entry) for entry in meta["left_out"]])


def _pack(dataset: Dataset, image_size: int, folder: Path, workers: int, progress: DecodingProgress | None) -> None:
    parts, damages = write_parts(dataset, image_size, folder, workers, progress)
    if damages and dataset.on_bad_record == "stop":
        raise DamagedImages(dataset.info.name, damages)
    if not parts:
        raise DataError(f"dataset '{dataset.info.name}': no samples found in {dataset.root}; is the folder complete?")
    rows = _rows(parts)
    pyarrow.parquet.write_table(rows.select(MANIFEST_SCHEMA.names), folder / MANIFEST)
    files = {MANIFEST: cached_file_digest(folder / MANIFEST)} | {part.pixels.name: part.digest for part in parts}
    write_meta(folder, _meta(dataset, image_size, rows, damages), files)


def _rows(parts: Sequence[Part]) -> pyarrow.Table:
    """The rows of all parts, in the order of their images."""
    tables = [PART_SCHEMA.empty_table(), *(pyarrow.parquet.read_table(part.rows) for part in parts)]
    return pyarrow.concat_tables(table.replace_schema_metadata() for table in tables)


def problem_text(name: str, damages: Sequence[Damage]) -> str:
    """A message with the number of damages, the first of them, and the remedy."""
    lines = listed([str(damage) for damage in damages])
    return f"dataset '{name}': {len(damages)} damaged image(s); replace or remove them, then run again:{lines}"


def _meta(dataset: Dataset, image_size: int, rows: pyarrow.Table, left_out: Sequence[Damage]) -> Mapping[str, Any]:
    counts, converted = _counts(rows)
    treatment = {} if dataset.crop is None else {"crop": dataset.crop}
    return {
        "pack_version": PACK_VERSION,
        "name": dataset.info.name,
        "title": dataset.info.title,
        "native": dict(dataset.info.native),
        "licence": dataset.info.licence,
        "rule": dataset.info.rule,
        "source_digest": dataset.source_digest(),
        "image_size": image_size,
        "fingerprint": _fingerprint(rows, treatment),
        "counts": counts,
        "converted": converted,
        "left_out": [[storable(damage.record), storable(damage.reason)] for damage in left_out],
        **treatment,
    }


def _counts(rows: pyarrow.Table) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of images by `split/class`, and by the kind they were converted from."""
    kinds = zip(rows["split"].to_pylist(), rows["label"].to_pylist(), strict=True)
    counts = Counter(f"{split}/{label or 'unknown'}" for split, label in kinds)
    converted = Counter(rows["converted"].to_pylist())
    del converted[""]
    return dict(sorted(counts.items())), dict(sorted(converted.items()))


def _fingerprint(rows: pyarrow.Table, treatment: Mapping[str, float]) -> str:
    """The digest of all rows, sorted by id, and of the crop; computed in batches because there may be millions."""
    content = hashlib.sha256(b"[")
    for number, row in enumerate(_in_order_of_ids(rows)):
        content.update(b"," * (number > 0) + row.encode())
    content.update(b"]")
    return digest([content.hexdigest(), treatment]) if treatment else content.hexdigest()


def _in_order_of_ids(rows: pyarrow.Table) -> Iterable[str]:
    for batch in rows.select(["id", "content"]).sort_by("id").to_batches(BATCH):
        yield from batch["content"].to_pylist()
