"""Test predictions: ids, labels and float16 logits, their digest, and the Parquet file that holds them."""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferbench.errors import VerificationError
from ferbench.records.cell import canonical_json, digest
from ferbench.records.parquet_pages import check_pages

MAX_PREDICTIONS_BYTES = 500_000_000
MAX_UNPACKED_BYTES = 500_000_000
MAX_VALUES = 50_000_000
"""Ids, labels and logits together: enough for a million test images with 48 classes."""
_ID, _LOGITS = r"id dictionary<values=string, \S+ \S+", r"logits fixed_size_list<\w+: halffloat( not null)?>\[\d+\]"
COLUMNS = re.compile(f"{_ID}, label int64, {_LOGITS}")
UNLABELED_COLUMNS = re.compile(f"{_ID}, {_LOGITS}")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The logits of the selected model for each test image, with id and label, in the order of the test split."""

    ids: list[str]
    labels: NDArray[np.int64]  # (N,)
    logits: NDArray[np.float16]  # (N, C)

    def __post_init__(self) -> None:
        if self.logits.dtype != np.float16 or self.logits.ndim != 2:
            raise ValueError(f"logits must be a float16 matrix, not {self.logits.dtype} of shape {self.logits.shape}")
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise ValueError(f"labels must be integers, not {self.labels.dtype}")
        if not len(self.ids) == len(self.labels) == len(self.logits):
            raise ValueError(
                f"ids, labels and logits must have equal length, not {len(self.ids)}, {len(self.labels)} and "
                f"{len(self.logits)}"
            )

    def digest(self) -> str:
        """SHA-256 over the values, independent of the version of the file format."""
        return predictions_digest(self.ids, self.labels, self.logits)

    def to_parquet(self) -> bytes:
        """The bytes of predictions.parquet."""
        logits = pa.FixedSizeListArray.from_arrays(pa.array(self.logits.ravel()), self.logits.shape[1])
        labels = pa.array(self.labels.astype(np.int64))
        table = pa.table({"id": pa.array(self.ids, pa.string()), "label": labels, "logits": logits})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    @classmethod
    def from_parquet(cls, data: bytes) -> "Predictions":
        """Read the bytes of an untrusted file; raises VerificationError for every defect."""
        ids, labels, logits = read_columns(data)
        return cls(ids=ids, labels=labels, logits=logits)


def read_columns(data: bytes, labels: bool = True) -> tuple[list[str], NDArray[np.int64], NDArray[np.float16]]:
    """Read ids, labels and logits from the bytes of an untrusted file.

    With `labels=False` the file must not have labels, and an empty array is returned for them. Raises
    VerificationError for every defect.
    """
    try:
        # keep ids as a dictionary column: in a small file a million ids can refer to one long text
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=["id"])
        columns = ", ".join(f"{field.name} {field.type}" for field in file.schema_arrow)
        if not (COLUMNS if labels else UNLABELED_COLUMNS).fullmatch(columns):
            wanted = f"id (string), {'label (int64), ' if labels else ''}logits (float16 lists)"
            raise VerificationError(f"predictions must have the columns {wanted}")
        check_pages(data, file.metadata, MAX_VALUES, MAX_UNPACKED_BYTES)
        # pyarrow's threads may outlive the interpreter, which then aborts: this happened in 1 of 10 short commands
        table = file.read(use_threads=False)
        # a damaged footer can state rows that the pages do not contain
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise VerificationError(f"predictions cannot be read: {str(error).splitlines()[0]}") from None
    if not table.num_rows or any(table.column(name).null_count for name in table.column_names):
        raise VerificationError("predictions have no rows, or empty values")
    lists = table.column("logits").combine_chunks()
    values = lists.flatten()
    if values.null_count or not len(values) or len(values) % table.num_rows:
        raise VerificationError("predictions have empty logits, or rows of different length")
    found = table.column("label").to_numpy() if labels else np.zeros(0, np.int64)
    return _texts(table.column("id")), found, values.to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return the texts of a dictionary column; raises VerificationError if they are too long in total."""
    lengths = (pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in column.chunks)
    if sum(pc.sum(each).as_py() or 0 for each in lengths) > MAX_UNPACKED_BYTES:
        raise VerificationError(f"predictions unpack to more than {MAX_UNPACKED_BYTES:,} bytes")
    texts: list[str] = column.cast(pa.large_string()).to_pylist()
    return texts


def predictions_digest(ids: Sequence[str], labels: NDArray[np.integer], logits: NDArray[np.float16]) -> str:
    """Return the SHA-256 over ids, shape, labels and logits, each after its length, in little-endian byte order."""
    sha = hashlib.sha256()
    for part in (
        canonical_json(list(ids)),
        canonical_json(list(logits.shape)),
        np.ascontiguousarray(labels, dtype="<i8").tobytes(),
        np.ascontiguousarray(logits, dtype="<f2").tobytes(),
    ):
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def labeled_fingerprint(ids: Sequence[str], class_names: Sequence[str]) -> str:
    """Return the fingerprint of a labeled part of a split: SHA-256 over the sorted pairs of id and class name."""
    return digest(sorted([image, name] for image, name in zip(ids, class_names, strict=True)))
