"""Reader for datasets that Hugging Face `datasets` loads: saved to disk, in a known layout, or on the hub."""

import json
import logging
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import COLUMNS, NAMES, NamedDataset
from ferbench.contract.dataset import Damage, Sample, tree_digest
from ferbench.errors import DataError, UsageError
from ferbench.readers.columns import UnreadColumns
from ferbench.readers.damage import UnknownLabel, damage_of
from ferbench.readers.paths import real
from ferbench.readers.text import printable, quoted

LABELS = ("label", "labels", "emotion", "expression")
SEVERAL, STATE = "dataset_dict.json", "state.json"
"""Files written by `save_to_disk`: one for several splits, and one for each split."""
DATA_FILES = (".parquet", ".arrow", ".csv", ".jsonl", ".tar", ".zip")


class LeadsOut(ValueError):
    """A file that the library would read is outside the root."""


class HuggingFace(NamedDataset):
    """Reads the first Image column, and labels as text or by the *name* of their ClassLabel; refuses other numbers.

    The label is in the column that the user names, else in `label`, `labels`, `emotion` or `expression`, else in the
    only ClassLabel column. The root is a folder written by `save_to_disk`, a folder that `load_dataset` reads
    (imagefolder, Parquet, ...), or the name of a dataset on the hub (`user/name`), which is downloaded. It needs
    `pip install 'ferbench[huggingface]'`.
    """

    marks = (SEVERAL, "dataset_info.json", "*-of-*.parquet", "data/*-of-*.parquet")
    takes = NAMES | COLUMNS
    data_suffixes = DATA_FILES
    rule = "loaded by Hugging Face datasets; class names are text or come from the ClassLabel feature"

    def found_classes(self) -> Iterator[str]:
        for rows in self._splits.values():
            columns = self._label_columns(rows)
            for name in chain(*columns.values(), self._names_in_rows(rows, columns)):
                with suppress(ValueError):
                    yield self.known_class(name)

    def source_digest(self) -> str:
        """Return the digest of the folder or, for a dataset on the hub, the fingerprints of its splits."""
        if self._is_local:
            return tree_digest(self.folder)
        return " ".join(f"{split} {rows._fingerprint}" for split, rows in sorted(self._splits.items()))

    def samples(self) -> Iterator[Sample | Damage]:
        splits = self._splits
        for path in self._files:
            self.account.use(path, "data")
        for split, rows in splits.items():
            column, labels = _image_column(rows), self._label_columns(rows)
            self.account.read("column", column, "image")
            unread = UnreadColumns(
                [column, *labels, *filter(None, (self.options.split_column, self.options.id_column))]
            )
            for number, row in enumerate(rows):
                where = f"{split}/{number}"
                unread.look(row)
                try:
                    yield self._sample(where, split, row, column, self._label(row, labels))
                except ValueError as error:
                    yield damage_of(where, error)
            named = "the names of the splits" if len(self._splits) > 1 else None
            read = {"label": ", ".join(labels) or None, "split": self.options.split_column or named}
            typed = [name for name, feature in rows.features.items() if _class_names(feature)]
            self.account_for_columns(unread, f"the split {split}", read, typed)

    def _sample(self, where: str, split: str, row: Mapping[str, Any], column: str, label: str | None) -> Sample:
        """Return the sample of a row; a training image without a label is unlabeled."""
        expression = None if label is None else self.class_of(label)
        named = str(row[self.options.split_column]) if self.options.split_column else split
        found = self.split_with(expression, self.split_of(named))
        image_id = printable(str(row[self.options.id_column])) if self.options.id_column else where
        return Sample(image_id, self._content(row[column]), found, expression)

    def _content(self, image: dict[str, Any] | None) -> bytes | Path:
        if image is None or not (image["bytes"] or image["path"]):
            raise ValueError("this row has no image")
        if image["bytes"]:
            return bytes(image["bytes"])
        return Path(image["path"]) if self._is_local else _downloaded(image["path"])

    @property
    def _is_local(self) -> bool:
        return self.root is not None and self.root.is_dir()

    @cached_property
    def _splits(self) -> dict[str, Any]:
        datasets, root = _library(), str(self.root)
        try:
            _ = self._files  # checks all files before the library opens one
            loaded = datasets.load_from_disk(root) if self._is_saved else datasets.load_dataset(root)
        except LeadsOut as error:
            raise DataError(f"{error}; copy the file itself into {root}") from None
        except Exception as error:  # the library and its dependencies raise many kinds
            cause = _first_cause(error)
            text = f"{type(cause).__name__}: {quoted(str(cause))}"
            raise DataError(f"{root}: Hugging Face datasets cannot load it ({text})") from None
        splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        for rows in splits.values():
            for option in ("label_column", "split_column", "id_column"):
                column = getattr(self.options, option)
                if column and column not in rows.features:
                    flag = f"--{option.replace('_', '-')} {column}"
                    raise DataError(f"{flag}: {root} has the columns {', '.join(rows.features)}; name one of them")
        return {split: _undecoded(rows, datasets.Image(decode=False)) for split, rows in splits.items()}

    @property
    def _is_saved(self) -> bool:
        """Whether the root was written by `save_to_disk`."""
        return self._is_local and any((self.folder / name).is_file() for name in (SEVERAL, STATE))

    @cached_property
    def _files(self) -> list[Path]:
        """The files of a folder that the library reads; raises LeadsOut if one is outside the folder."""
        if not self._is_local:
            return []
        found = _saved_files(self.folder) if self._is_saved else _files_to_load(self.folder)
        return [_inside(self.folder, str(name)) for names in found.values() for name in names]

    def _label_columns(self, rows: Any) -> dict[str, list[str]]:
        """Return the columns that may have labels, each with the names of its ClassLabel, if it has this feature."""
        features = rows.features
        typed = [name for name, feature in features.items() if _class_names(feature)]
        named = [name for name in LABELS if name in features]
        said = [self.options.label_column] if self.options.label_column else None
        columns = said or named or (typed if len(typed) == 1 else [])
        return {name: _class_names(features[name]) for name in columns}

    def _names_in_rows(self, rows: Any, columns: Mapping[str, list[str]]) -> Iterator[str]:
        """Yield the label of every row; nothing if all columns have class names anyway."""
        if all(columns.values()):
            return
        for row in rows.select_columns(list(columns)):
            with suppress(ValueError):
                if label := self._label(row, columns):
                    yield label

    def _label(self, row: Mapping[str, Any], columns: Mapping[str, list[str]]) -> str | None:
        """Return the first label of a row, or None; raises ValueError for a number without a name."""
        column = next((column for column in columns if row[column] is not None), None)
        if column is None or row[column] == -1:
            return None
        value, names = row[column], columns[column]
        if not isinstance(value, int):
            return str(value)
        if not names:
            if str(value) in self.options.classes:
                return str(value)
            text = f"label {value} is a number without a name; give the column the feature ClassLabel"
            raise UnknownLabel(str(value), f"{text}, or name its class with --class {value}=CLASS")
        if not 0 <= value < len(names):
            raise ValueError(f"label {value} is not one of the {len(names)} of its ClassLabel (0 to {len(names) - 1})")
        return names[value]


def _saved_files(root: Path) -> dict[str, list[str]]:
    """Return the files that a saved dataset lists, by the folder of each split; the key is empty for the root."""
    folders = _json(root, SEVERAL)["splits"] if (root / SEVERAL).is_file() else [""]
    states = {folder: _json(root, posixpath.join(folder, STATE)) for folder in folders}
    return {
        folder: [posixpath.join(folder, file["filename"]) for file in state["_data_files"]]
        for folder, state in states.items()
    }


def _files_to_load(root: Path) -> dict[str, list[str]]:
    return _library().load_dataset_builder(str(root)).config.data_files or {}


def _json(root: Path, name: str) -> Any:
    return json.loads(_inside(root, name).read_text("utf-8-sig"))


def _inside(root: Path, name: str) -> Path:
    """Return the path of a file that the library would read; raises LeadsOut if it is outside the root."""
    path = root / name
    if "://" in name:
        raise LeadsOut(f"{root}: the library would read {quoted(name)}")
    try:
        real(root, path)
    except (OSError, ValueError) as error:
        raise LeadsOut(str(error)) from None
    return path


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _class_names(feature: Any) -> list[str]:
    """Return the names of a ClassLabel; empty for another feature."""
    return list(map(str, getattr(feature, "names", None) or ()))


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UsageError("this reader needs Hugging Face datasets; run pip install 'ferbench[huggingface]'") from None
    datasets.logging.set_verbosity(logging.CRITICAL)  # every problem also raises an exception
    return datasets


def _image_columns(rows: Any) -> list[str]:
    return [str(name) for name, feature in rows.features.items() if type(feature).__name__ == "Image"]


def _undecoded(rows: Any, feature: Any) -> Any:
    """Return the rows with all image columns as bytes, also those that are not read."""
    for name in _image_columns(rows):
        rows = rows.cast_column(name, feature)
    return rows


def _image_column(rows: Any) -> str:
    if columns := _image_columns(rows):
        return columns[0]
    raise DataError(f"the dataset has no Image column; its columns are {', '.join(rows.features)}")


def _downloaded(path: str) -> bytes:
    """Return the bytes of an image file of a dataset on the hub.

    Raises ValueError if the file is not in the library's caches, because a row may name any file of this machine.
    """
    import huggingface_hub

    config = _library().config
    for cache in (huggingface_hub.constants.HF_HUB_CACHE, config.DOWNLOADED_DATASETS_PATH, config.HF_DATASETS_CACHE):
        with suppress(OSError, ValueError):
            return real(Path(cache), Path(path)).read_bytes()
    raise ValueError(f"{quoted(path)} is not a file that Hugging Face datasets has downloaded")
