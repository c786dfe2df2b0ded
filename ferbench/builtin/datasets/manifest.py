"""A list of images as CSV or Parquet: `path`, and what is known of each."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import NamedDataset, split_name
from ferbench.contract.dataset import Damage, Sample
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.paths import below, real
from ferbench.readers.tables import face_box, float_in, parsed, read_table
from ferbench.readers.text import printable

FILES = ("manifest.csv", "manifest.parquet")
BOX = ("x0", "y0", "x1", "y1")
Row = Mapping[str, Any]


class Manifest(NamedDataset):
    """`manifest.csv` or `manifest.parquet` with the columns path, id, label, split, subject, video, x0, y0, x1, y1.

    Only `path` must be there. An empty id is the path; an image of several faces has a row with its own id for each.
    An empty label is none; an empty split is train, or unlabeled without a label; the box is in pixels of the stored
    image.
    """

    rule = "manifest.csv or manifest.parquet: path, and where known id, label, split, subject, video, x0, y0, x1, y1"

    def samples(self) -> Iterator[Sample | Damage]:
        path = self.require(*FILES, depth=0)
        rows = read_table(self.folder, path, ("path",)) if path.suffix == ".csv" else self._parquet(path)
        return parsed(rows, self._sample)

    def _sample(self, row: Row) -> Sample:
        path = below(self.folder, _text(row, "path"))
        label = class_name(text) if (text := _text(row, "label")) else None
        split = split_name(text) if (text := _text(row, "split")) else "train" if label else "unlabeled"
        return Sample(
            id=_text(row, "id") or path.relative_to(self.folder).as_posix(),
            image=path,
            split=split,
            label=label,
            subject=printable(_text(row, "subject")) or None,
            video=printable(_text(row, "video")) or None,
            box=_box(row),
        )

    def _parquet(self, path: Path) -> Iterator[tuple[str, Row]]:
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.ParquetFile(real(self.folder, path))
            if "path" not in table.schema_arrow.names:
                raise ValueError("it has no column 'path'")
            number = 0
            for batch in table.iter_batches(4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as a manifest ({error}); write it again") from None


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _box(row: Row) -> tuple[float, float, float, float] | None:
    values = [_text(row, column) for column in BOX]
    if not any(values):
        return None
    x0, y0, x1, y1 = map(float_in, values)
    return face_box(x0, y0, x1, y1)
