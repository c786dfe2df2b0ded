"""Decode once: from a data set's samples to a packed folder.

A packed folder holds `images.npy` (uint8, N x S x S x 3, memory-mapped when read), `manifest.parquet` and `meta.json`
with counts, licence note and content fingerprint. It is written beside its place and renamed, so that a folder that
exists is whole.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, get_args

import filelock
import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image, UnidentifiedImageError

from ferbench.contract.dataset import EIGHT_CLASSES, Dataset, Sample, Split
from ferbench.errors import DataError
from ferbench.records.cell import digest

PACK_VERSION = 1
MAX_LISTED = 20
UNDECODABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
LABELS = (*EIGHT_CLASSES, "other")


def cache_root() -> Path:
    """`FERBENCH_CACHE`, else `ferbench` in the user's cache folder."""
    chosen = os.environ.get("FERBENCH_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferbench"


def packed_folder(dataset: Dataset, image_size: int) -> Path:
    """Where the packed copy of a data set at a size lies, whether or not it exists."""
    key = digest([PACK_VERSION, dataset.info.name, dataset.source_digest(), image_size])
    return cache_root() / "packed" / f"{dataset.info.name}-{image_size}px-{key[:12]}"


def find_packed(dataset: Dataset) -> Path | None:
    """A packed copy of a data set at any size, if one is here; splits do not depend on the size."""
    source = dataset.source_digest()
    for meta in sorted((cache_root() / "packed").glob(f"{dataset.info.name}-*px-*/meta.json")):
        if json.loads(meta.read_text("utf-8")).get("source_digest") == source:
            return meta.parent
    return None


def ensure_packed(dataset: Dataset, image_size: int) -> Path:
    """The packed folder, made now if it is missing; processes that ask for the same wait for each other."""
    folder = packed_folder(dataset, image_size)
    if (folder / "meta.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_suffix(".lock")):
            if not (folder / "meta.json").is_file():
                _write(dataset, image_size, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the packed data set ({error.strerror or error}); free space or set FERBENCH_CACHE"
        ) from None
    return folder


def _write(dataset: Dataset, image_size: int, folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with (scratch / "images.npy").open("wb") as images:
            rows = _decode(dataset, image_size, images)
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), scratch / "manifest.parquet"
        )
        (scratch / "meta.json").write_text(
            json.dumps(_meta(dataset, image_size, rows), indent=1, sort_keys=True), "utf-8"
        )
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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


def _decode(dataset: Dataset, size: int, images: BinaryIO) -> list[dict[str, Any]]:
    """Write the pixels one image at a time, so that memory does not grow with the set; the rows of the manifest."""
    _write_header(images, 0, size)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    seen: set[str] = set()
    for sample in _read(dataset):
        try:
            if sample.id in seen:
                raise ValueError("this id occurs twice")
            _check_names(sample)
            pixels, row = decode_sample(sample, size)
        except UNDECODABLE as error:
            problems.append(f"{_where(sample)}: {error}")
            continue
        seen.add(sample.id)
        images.write(pixels.tobytes())
        rows.append(row)
    if problems:
        raise DataError(problem_text(dataset.info.name, problems))
    if not rows:
        raise DataError(f"dataset '{dataset.info.name}': no samples found; is the folder complete?")
    _write_header(images, len(rows), size)
    return rows


def _write_header(images: BinaryIO, n: int, size: int) -> None:
    # NumPy leaves room for the first number to grow, so that the header can be written again over itself.
    images.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    np.lib.format.write_array_header_1_0(images, header)


def decode_sample(sample: Sample, size: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels (size, size, 3) uint8 and the manifest row; the box is scaled with the image."""
    content = sample.encoded()
    image = decode_image(content)
    scale = (size / image.width, size / image.height) * 2
    distribution = sample.label if isinstance(sample.label, Mapping) else None
    return _sized(image, size), {
        "id": sample.id,
        "split": sample.split,
        "label": max(sorted(distribution), key=distribution.__getitem__) if distribution else sample.label,
        "label_distribution": list(distribution.items()) if distribution else None,
        "subject": sample.subject,
        "video": sample.video,
        "box": [value * factor for value, factor in zip(sample.box, scale, strict=True)] if sample.box else None,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def decode_pixels(content: bytes, size: int) -> np.ndarray:
    """Pixels (size, size, 3) uint8 of an encoded image; raises one of `UNDECODABLE` where it is damaged."""
    return _sized(decode_image(content), size)


def decode_image(content: bytes) -> Image.Image:
    """An encoded image in RGB; raises one of `UNDECODABLE` where it is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content)) as opened:
                return opened.convert("RGB")
        except UnidentifiedImageError:
            raise ValueError(f"these {len(content)} bytes are no image") from None
        except Image.DecompressionBombWarning as error:
            raise ValueError(str(error)) from None


def _sized(image: Image.Image, size: int) -> np.ndarray:
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _read(dataset: Dataset) -> Iterator[Sample]:
    try:
        yield from dataset.samples()
    except OSError as error:
        raise DataError(
            f"dataset '{dataset.info.name}': cannot be read ({error.filename or ''}: {error.strerror or error})"
        ) from None


def _check_names(sample: Sample) -> None:
    if sample.split not in get_args(Split):
        raise ValueError(f"split '{sample.split}' is none of {', '.join(get_args(Split))}")
    shares = sample.label if isinstance(sample.label, Mapping) else {sample.label: 1.0} if sample.label else {}
    for name, share in shares.items():
        if name not in LABELS:
            raise ValueError(f"label '{name}' is no canonical class ({', '.join(LABELS)})")
        if not 0 <= share < float("inf"):
            raise ValueError(f"label '{name}' has the share {share}")


def _where(sample: Sample) -> str:
    return sample.id if isinstance(sample.image, bytes) else f"{sample.image} ({sample.id})"


def problem_text(name: str, problems: list[str]) -> str:
    """All that is wrong with a data set, or its beginning, with the remedy."""
    listed = "\n  ".join(problems[:MAX_LISTED])
    more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
    return (
        f"dataset '{name}': {len(problems)} damaged image(s); replace or remove them, then run again:\n  {listed}{more}"
    )


def _meta(dataset: Dataset, image_size: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content = sorted(([row[name] for name in MANIFEST_SCHEMA.names] for row in rows), key=lambda row: str(row[0]))
    counts = Counter((row["split"], row["label"] or "unknown") for row in rows)
    return {
        "pack_version": PACK_VERSION,
        "name": dataset.info.name,
        "title": dataset.info.title,
        "licence": dataset.info.licence,
        "source_digest": dataset.source_digest(),
        "image_size": image_size,
        "fingerprint": digest(content),
        "counts": {f"{split}/{label}": n for (split, label), n in sorted(counts.items())},
    }
