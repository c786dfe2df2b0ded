"""Folders of Parquet files, a file for each split."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import Dataset, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.description import read_description


class ParquetDataset(Dataset):
    """A folder of `<split>.parquet` files with a `dataset.json`, as `ferbench synthfaces render` writes it.

    Columns: `image` (struct with `bytes`), `id`, and where known `label`, `subject`, `video`, `box` (4 floats); any
    other column becomes an attribute. The files are what Hugging Face `datasets` reads as `parquet`.
    """

    SPLITS: ClassVar[tuple[SplitName, ...]] = ("train", "test", "unlabeled")

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self._folder, self._description, self._info = read_description(root)

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def _files(self) -> Iterator[tuple[SplitName, Path]]:
        for split in self.SPLITS:
            path = self._folder / f"{split}.parquet"
            if path.is_file():
                yield split, path

    def source_digest(self) -> str:
        digest = hashlib.sha256(json.dumps(self._description, sort_keys=True).encode())
        for split, path in self._files():
            with path.open("rb") as file:
                digest.update(split.encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def samples(self) -> Iterator[Sample]:
        for split, path in self._files():
            try:
                for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024):
                    for row in batch.to_pylist():
                        yield self._sample(split, row)
            except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}: cannot be read as a Parquet split ({error}); render or copy it again"
                ) from None

    @staticmethod
    def _sample(split: SplitName, row: dict[str, Any]) -> Sample:
        box = row.pop("box", None)
        return Sample(
            id=str(row.pop("id")),
            image=row.pop("image")["bytes"],
            split=split,
            label=row.pop("label", None),
            subject=row.pop("subject", None),
            video=row.pop("video", None),
            box=tuple(box) if box else None,
            attributes=row,
        )
