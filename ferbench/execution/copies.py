"""Writes a copy of a dataset, and gives it its own environment."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import DatasetInfo, Sample
from ferbench.readers.description import DESCRIPTION
from ferbench.readers.parquet import ParquetDataset


def write_copy(folder: Path, info: DatasetInfo, samples: Sequence[Sample]) -> None:
    """Write a new folder of Parquet files that `ParquetDataset` reads as the dataset. Samples must have image bytes."""
    folder.mkdir(parents=True)
    for split in ParquetDataset.SPLITS:
        rows = [_row(sample) for sample in samples if sample.split == split]
        if rows:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{split}.parquet")
    fields = ("name", "title", "licence", "classes", "default_classes", "family")
    (folder / DESCRIPTION).write_text(json.dumps({name: getattr(info, name) for name in fields}), "utf-8")


def _row(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "image": {"bytes": sample.image, "path": None},
        "label": sample.label,
        "subject": sample.subject,
        "video": sample.video,
        "box": list(sample.box) if sample.box else None,
    }


@contextmanager
def own_environment(**variables: str) -> Iterator[None]:
    """Change environment variables within this block, also for the processes that are started in it."""
    before = dict(os.environ)
    os.environ |= variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
