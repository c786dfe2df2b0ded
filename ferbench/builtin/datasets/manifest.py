"""Reader for a list of images as CSV or Parquet: `path`, and any known facts about each image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import COLUMNS, NAMES, NamedDataset
from ferbench.contract.dataset import Damage, Sample
from ferbench.errors import DataError
from ferbench.readers.columns import UnreadColumns
from ferbench.readers.paths import below, real
from ferbench.readers.tables import MAX_LINE, face_box, float_in, parsed, read_table
from ferbench.readers.text import printable

FILES = ("manifest.csv", "manifest.parquet")
BOX = ("x0", "y0", "x1", "y1")
READ = ("path", "id", "label", "split", "subject", "video", *BOX)
ROWS = 64
"""Number of Parquet rows that are read together."""
Row = Mapping[str, Any]
Entry = tuple[str, Row] | Damage


class Manifest(NamedDataset):
    """Reads `manifest.csv` or `manifest.parquet`.

    The columns are path, id, label, split, subject, video, x0, y0, x1, y1; only `path` is required. If the id is empty,
    it is the path; an image with several faces has one row for each face, with its own id. An empty label means no
    label. An empty split means train, or unlabeled if there is no label. The box is in pixels of the stored image.
    """

    takes = NAMES | COLUMNS
    data_suffixes = FILES
    rule = "manifest.csv or manifest.parquet: path, and where known id, label, split, subject, video, x0, y0, x1, y1"

    def samples(self) -> Iterator[Sample | Damage]:
        path = self.require(*FILES, depth=0)
        rows = read_table(self.folder, path, ("path",)) if path.suffix == ".csv" else self._parquet(path)
        return parsed(self._accounted(path.name, rows), self._sample)

    def _accounted(self, name: str, rows: Iterator[Entry]) -> Iterator[Entry]:
        """Yield the rows unchanged, and account for the columns that are not read."""
        unread = None
        for entry in rows:
            if not isinstance(entry, Damage):
                unread = unread or self._columns(name, entry[1])
                unread.look(entry[1])
            yield entry
        if unread:
            there = self._there
            self.account_for_columns(unread, name, {role: there.get(role) for role in ("label", "split")})

    def _columns(self, name: str, row: Row) -> UnreadColumns:
        """Find the columns that are read for each role; raises DataError if a column named by the user is missing."""
        said = {role: getattr(self.options, f"{role}_column") for role in ("label", "split", "id")}
        roles = {role: (said.get(role) or role).lower() for role in READ}
        for role, column in said.items():
            if column and column.lower() not in row:
                raise DataError(f"--{role}-column {column}: {name} has the columns {', '.join(row)}; name one of them")
        self._there = {role: column for role, column in roles.items() if column in row}
        for role in self._there.keys() - {"label", "split"}:
            self.account.read("column", self._there[role], role)
        return UnreadColumns(self._there.values())

    def _sample(self, row: Row) -> Sample:
        path = below(self.folder, self._text(row, "path"))
        self.account.use(path)  # even if its row is damaged
        label = self.class_of(text) if (text := self._text(row, "label")) else None
        split = self.split_of(text) if (text := self._text(row, "split")) else "train"
        return Sample(
            id=self._text(row, "id") or path.relative_to(self.folder).as_posix(),
            image=path,
            split=self.split_with(label, split),
            label=label,
            subject=printable(self._text(row, "subject")) or None,
            video=printable(self._text(row, "video")) or None,
            box=self._box(row),
        )

    def _parquet(self, path: Path) -> Iterator[tuple[str, Row]]:
        import pyarrow
        import pyarrow.parquet

        try:
            schema = pyarrow.parquet.read_schema(real(self.folder, path))
            names = [name.strip().lower() for name in schema.names]
            if "path" not in names:
                raise ValueError("it has no column 'path'")
            if len(set(names)) < len(names):
                raise ValueError("two of its column names differ only in case or spaces")
            # Keep texts as dictionary columns: in a small file a million rows can refer to one long text.
            texts = [field.name for field in schema if pyarrow.types.is_string(field.type)]
            table = pyarrow.parquet.ParquetFile(real(self.folder, path), read_dictionary=texts)
            number = 0
            for batch in table.iter_batches(ROWS):
                _refuse_long_texts(batch)
                for row in batch.rename_columns(names).to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as a manifest ({error}); correct the file") from None

    def _text(self, row: Row, role: str) -> str:
        value = row.get(self._there.get(role, role))
        return "" if value is None else str(value).strip()

    def _box(self, row: Row) -> tuple[float, float, float, float] | None:
        values = [self._text(row, column) for column in BOX]
        if not any(values):
            return None
        x0, y0, x1, y1 = map(float_in, values)
        return face_box(x0, y0, x1, y1)


def _refuse_long_texts(batch: Any) -> None:
    """Raise ValueError for rows that would decode to much more data than they take in the file."""
    import pyarrow
    import pyarrow.compute

    for column in batch.columns:
        if pyarrow.types.is_dictionary(column.type) and pyarrow.types.is_string(column.type.value_type):
            longest = pyarrow.compute.max(pyarrow.compute.binary_length(column.dictionary)).as_py() or 0
            if longest > MAX_LINE:
                raise ValueError(f"it has a text of {longest:,} bytes; at most {MAX_LINE:,} are allowed")
