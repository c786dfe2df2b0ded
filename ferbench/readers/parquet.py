"""Folders of Parquet files, one file for each split."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow
import pyarrow.parquet

from ferbench.contract.dataset import Dataset, DatasetInfo, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.columns import UnreadColumns
from ferbench.readers.description import DESCRIPTION, ignored, read_description
from ferbench.readers.paths import files

ROWS = 16
"""Rows that are read together. Few, because a few bytes of a file may refer to one large image in every row."""


class ParquetDataset(Dataset):
    """A folder of `<split>.parquet` files with a `dataset.json`, as `ferbench synthfaces render` writes it.

    Columns: `image` (struct with `bytes`), `id`, and optionally `label`, `subject`, `video`, `box` (4 floats); any
    other column becomes an attribute. Hugging Face `datasets` reads these files as `parquet`.
    """

    SPLITS: ClassVar[tuple[SplitName, ...]] = ("train", "validation", "test", "unlabeled")
    COLUMNS: ClassVar[tuple[str, ...]] = ("image", "id", "label", "subject", "video", "box")
    data_suffixes = (".parquet",)

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self._folder, self._description, self._info = read_description(root)
        self.account.patterns = ignored(self._description, self._folder / DESCRIPTION)

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
        self._refuse_other_files()
        self.account.use(self._folder / DESCRIPTION)
        for split, path in self._files():
            self.account.use(path, f"the split {split}")
            try:
                self._refuse_unread_labels(split, path)
                for batch in pyarrow.parquet.ParquetFile(path).iter_batches(ROWS):
                    for row in batch.to_pylist():
                        yield self._sample(split, row)
            except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}: cannot be read as a Parquet split ({error}); render or copy it again"
                ) from None

    def _refuse_other_files(self) -> None:
        known = {f"{split}.parquet" for split in self.SPLITS}
        there = [path.name for path in files(self._folder, ".parquet") if path.name not in known]
        if others := [name for name in there if not self.account.ignored_by(name)]:
            names = ", ".join(sorted(known))
            raise DataError(
                f"{self._folder}: {', '.join(others)} would not be read; only {names} are read. Rename or move it"
            )

    def _refuse_unread_labels(self, split: SplitName, path: Path) -> None:
        """Raises DataError if labels have another column name: all images, even test images, would be unlabeled."""
        table = pyarrow.parquet.ParquetFile(path)
        if split == "unlabeled" or "label" in table.schema_arrow.names:
            return
        unread = UnreadColumns(self.COLUMNS)
        columns = [name for name in table.schema_arrow.names if name not in self.COLUMNS]
        for row in next(table.iter_batches(1024, columns=columns), pyarrow.table({})).to_pylist() if columns else ():
            unread.look(row)
        kinds = unread.kinds(class_name, lambda text: text)
        if labels := [name for name, kind in kinds.items() if kind == "label"]:
            raise DataError(
                f"{path}: the column {', '.join(labels)} looks like labels, but labels are read only from 'label'; "
                "rename it"
            )

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
