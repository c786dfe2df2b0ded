"""Publish results on licensed datasets: logits by salted ids, without any label.

The record contains the fingerprint of the test split, which covers its labels, and the digest of the predictions,
which covers logits, ids and labels. Anyone who has the data can join them and check every number; nobody else learns
a label.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferbench.errors import VerificationError
from ferbench.records.files import read_bounded, write_together
from ferbench.records.history import HISTORY, MAX_HISTORY_BYTES
from ferbench.records.known import Known
from ferbench.records.predictions import MAX_PREDICTIONS_BYTES, Predictions, read_columns
from ferbench.records.schema import MAX_RECORD_BYTES, Result
from ferbench.records.store import PREDICTIONS, RECORD, read_predictions, read_record

PUBLISHED = "logits.parquet"
"""The file that replaces predictions.parquet."""


@dataclass(frozen=True, eq=False)
class PublishedLogits:
    """Logits by salted id, sorted by these ids, so that the order reveals nothing about the split."""

    ids: list[str]
    logits: NDArray[np.float16]  # (N, C)

    def to_parquet(self) -> bytes:
        """The bytes of logits.parquet."""
        logits = pa.FixedSizeListArray.from_arrays(pa.array(self.logits.ravel()), self.logits.shape[1])
        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": pa.array(self.ids, pa.string()), "logits": logits}), buffer, compression="zstd")
        return buffer.getvalue()


def is_published(folder: Path) -> bool:
    """Whether a record's folder has logits without labels and no predictions."""
    return (folder / PUBLISHED).exists() and not (folder / PREDICTIONS).exists()


def salted(salt: str, image: str) -> str:
    """SHA-256 over salt and id: the same image has another salted id in each record."""
    return hashlib.sha256(f"{salt}\n{image}".encode()).hexdigest()


def without_labels(predictions: Predictions, salt: str) -> PublishedLogits:
    """Return the logits of predictions by salted ids, sorted by these ids."""
    ids = [salted(salt, image) for image in predictions.ids]
    order = sorted(range(len(ids)), key=lambda row: ids[row])
    return PublishedLogits([ids[row] for row in order], predictions.logits[order])


def read_published(path: Path) -> PublishedLogits:
    """Read an untrusted logits.parquet; raises VerificationError for every defect."""
    ids, _, logits = read_columns(read_bounded(path, MAX_PREDICTIONS_BYTES), labels=False)
    return PublishedLogits(ids, logits)


def join(published: PublishedLogits, tests: Sequence[tuple[str, str]], result: Result) -> Predictions:
    """Restore the published predictions; `tests` are id and class of each test image, in the order of the split.

    Raises VerificationError if the images or their classes do not match.
    """
    row_of = {image: row for row, image in enumerate(published.ids)}
    places = {name: place for place, name in enumerate(result.class_names)}
    ids = [salted(result.predictions_digest, image) for image, _ in tests]
    if row_of.keys() != set(ids) or any(name not in places for _, name in tests):
        raise VerificationError("the published logits do not belong to the test images on this machine")
    labels = np.array([places[name] for _, name in tests], np.int64)
    return Predictions([image for image, _ in tests], labels, published.logits[[row_of[image] for image in ids]])


def publish(folder: Path, out: Path, known: Known) -> tuple[str, ...]:
    """Write the publishable files of a record's folder into the folder `out` and return their names.

    If the labels of the dataset may be published, the files are copied unchanged. Otherwise, or if the dataset is
    unknown here, `logits.parquet` replaces `predictions.parquet`. The record is always copied byte for byte. Raises
    VerificationError if a file cannot be read or the predictions are not those of the record.
    """
    record = read_record(folder / RECORD)
    if record.result is None:
        raise VerificationError(f"{folder}: there is no result to publish")
    predictions = read_predictions(folder / PREDICTIONS)
    if predictions.digest() != record.result.predictions_digest:
        raise VerificationError(f"{folder / PREDICTIONS}: these are not the predictions of the record; run it again")
    dataset = known.dataset(record.cell.test_on or record.cell.dataset)
    if dataset is not None and dataset.publishes_labels:
        scores = {PREDICTIONS: read_bounded(folder / PREDICTIONS, MAX_PREDICTIONS_BYTES)}
    else:
        scores = {PUBLISHED: without_labels(predictions, record.result.predictions_digest).to_parquet()}
    files = {
        **scores,
        HISTORY: read_bounded(folder / HISTORY, MAX_HISTORY_BYTES),
        RECORD: read_bounded(folder / RECORD, MAX_RECORD_BYTES),
    }
    write_together(out, files, remove={PREDICTIONS, PUBLISHED} - scores.keys())
    return tuple(files)
