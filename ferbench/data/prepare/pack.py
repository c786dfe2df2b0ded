"""Decode once: from a dataset's samples to a packed folder.

A packed folder holds parts of pixels (`part-*.npy`: uint8, n x S x S x 3, memory-mapped when read), `manifest.parquet`
with a row per image in their order, and `meta.json` with counts, licence note, content fingerprint and the digest of
every other file. It grows beside its place and is renamed, so that a folder that exists is whole; what was decoded
before an interruption, or beside damaged images, is not decoded again.
"""

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import Damage, Dataset
from ferbench.data.cache import META, cache_root, cached_file_digest, is_usable, read_meta, reading, write_meta
from ferbench.data.prepare.writer import MANIFEST_SCHEMA, PART_SCHEMA, DecodingProgress, Part, write_parts
from ferbench.errors import DataError, listed
from ferbench.readers.text import storable
from ferbench.records.cell import digest
from ferbench.records.formats import CACHE_FORMAT, FORMAT, PACK_VERSION
from ferbench.records.lease import Lease

MANIFEST = "manifest.parquet"
BATCH = 4096


class DamagedImages(DataError):
    """A dataset was read to its end, and some of it gives no image."""

    def __init__(self, name: str, damages: list[Damage]) -> None:
        super().__init__(problem_text(name, damages))
        self.damages = damages


def packed_folder(dataset: Dataset, image_size: int) -> Path:
    """Where the packed copy of a dataset at a size lies, whether or not it exists."""
    treatment: dict[str, Any] = {} if dataset.crop is None else {"crop": dataset.crop}
    if dataset.on_bad_record == "skip":
        treatment["damaged"] = "left out"
    parts = [PACK_VERSION, dataset.info.name, dataset.source_digest(), image_size]
    if dataset.info.rule:
        parts.append(dataset.info.rule)  # two readers may read one folder, and a reader may be mended
    key = digest([*parts, treatment] if treatment else parts)
    return cache_root() / "packed" / f"{dataset.info.name}-{image_size}px-{key[:12]}"


def find_packed(dataset: Dataset) -> Path | None:
    """A packed copy of a dataset at any size, if one is here; splits do not depend on the size."""
    wanted = dataset.source_digest(), dataset.info.rule, dataset.crop
    for path in sorted((cache_root() / "packed").glob(f"{dataset.info.name}-*px-*/{META}")):
        try:
            meta = read_meta(path.parent)
            found = meta["source_digest"], meta["rule"], meta.get("crop")
            complete = dataset.on_bad_record == "skip" or not meta["left_out"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # whoever needs this very copy says what is wrong with it
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
    """The packed folder, made now if it is missing or damaged; processes that ask for the same wait for each other.

    Raises DamagedImages with everything that gives no image, unless `dataset.on_bad_record` is `skip`; DataError for a
    folder in the format of another ferbench, which `renew` makes anew.
    """
    folder = packed_folder(dataset, image_size)
    if is_usable(folder, renew=renew):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # One name for all states of the source, so that a repaired image does not cost the others.
        partial = folder.with_name(f".{dataset.info.name}-{image_size}px")
        with Lease(partial.with_name(f"{partial.name}.lease")).wait():
            if not is_usable(folder, renew=renew):
                _pack(dataset, image_size, partial, workers, progress)
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
                for rows in folder.glob("part-*.parquet"):  # they stand in the manifest
                    rows.unlink()
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the packed dataset ({error.strerror or error}); free space or set FERBENCH_CACHE"
        ) from None
    return folder


@dataclass(frozen=True)
class Inspection:
    """What reading a whole dataset shows: images by `split/class`, what was converted to RGB, what gives no image."""

    counts: Mapping[str, int]
    converted: Mapping[str, int]
    damages: Sequence[Damage]


def inspect(
    dataset: Dataset, image_size: int, *, workers: int = 1, progress: DecodingProgress | None = None
) -> Inspection:
    """Decode everything and keep nothing."""
    with tempfile.TemporaryDirectory() as folder:
        parts, damages = write_parts(dataset, image_size, Path(folder), workers, progress, keep=False)
        return Inspection(*_counts(_rows(parts)), damages)


def read_inspection(folder: Path) -> Inspection:
    """What was found when a packed folder was made."""
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
    """All that is wrong with a dataset, or its beginning, with the remedy."""
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
    """Images by `split/class`, and what they were converted from."""
    kinds = zip(rows["split"].to_pylist(), rows["label"].to_pylist(), strict=True)
    counts = Counter(f"{split}/{label or 'unknown'}" for split, label in kinds)
    converted = Counter(rows["converted"].to_pylist())
    del converted[""]
    return dict(sorted(counts.items())), dict(sorted(converted.items()))


def _fingerprint(rows: pyarrow.Table, treatment: Mapping[str, float]) -> str:
    """The digest of all rows in the order of ids, and of the crop; piece by piece, as there may be millions."""
    content = hashlib.sha256(b"[")
    for number, row in enumerate(_in_order_of_ids(rows)):
        content.update(b"," * (number > 0) + row.encode())
    content.update(b"]")
    return digest([content.hexdigest(), treatment]) if treatment else content.hexdigest()


def _in_order_of_ids(rows: pyarrow.Table) -> Iterable[str]:
    for batch in rows.select(["id", "content"]).sort_by("id").to_batches(BATCH):
        yield from batch["content"].to_pylist()
