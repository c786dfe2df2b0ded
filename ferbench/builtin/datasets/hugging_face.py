"""A dataset that Hugging Face `datasets` loads: saved to disk, a folder that it understands, or one of the hub."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import NamedDataset, split_name
from ferbench.contract.dataset import Damage, Sample, tree_digest
from ferbench.errors import DataError, UsageError
from ferbench.readers.classes import class_name
from ferbench.readers.paths import real
from ferbench.readers.text import quoted

LABELS = ("label", "labels", "emotion", "expression")


class HuggingFace(NamedDataset):
    """The first Image column, and the label as text or by the *name* of its ClassLabel; other numbers are refused.

    The root is a folder written by `save_to_disk`, a folder that `load_dataset` reads (imagefolder, Parquet, ...), or
    the name of a set of the hub (`user/name`), which is downloaded. Needs `pip install 'ferbench[huggingface]'`.
    """

    marks = ("dataset_dict.json", "dataset_info.json")
    rule = "loaded by Hugging Face datasets; class names are text or come from the ClassLabel feature"

    def found_classes(self) -> Iterator[str]:
        for rows in self._splits.values():
            columns = _label_columns(rows)
            for name in chain(*columns.values(), _names_in_rows(rows, columns)):
                with suppress(ValueError):
                    yield class_name(name)

    def source_digest(self) -> str:
        """Of the folder; of a set of the hub its fingerprints."""
        if self._is_local:
            return tree_digest(self.folder)
        return " ".join(f"{split} {rows._fingerprint}" for split, rows in sorted(self._splits.items()))

    def samples(self) -> Iterator[Sample | Damage]:
        for split, rows in self._splits.items():
            column, labels = _image_column(rows), _label_columns(rows)
            for number, row in enumerate(rows):
                where = f"{split}/{number}"
                try:
                    yield self._sample(where, split, row[column], _label(row, labels))
                except ValueError as error:
                    yield Damage(where, str(error))

    def _sample(self, where: str, split: str, image: dict[str, Any] | None, label: str | None) -> Sample:
        expression = None if label is None else class_name(label)
        return Sample(where, self._content(image), split_name(split) if expression else "unlabeled", expression)

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
        datasets = _library()
        root = str(self.root)
        try:
            local = Path(root)
            saved = (local / "dataset_dict.json").is_file() or (local / "state.json").is_file()
            loaded = datasets.load_from_disk(root) if saved else datasets.load_dataset(root)
        except Exception as error:  # of many kinds, of libraries that it calls
            raise DataError(f"{root}: Hugging Face datasets cannot load it ({type(error).__name__}: {error})") from None
        splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        return {
            split: rows.cast_column(_image_column(rows), datasets.Image(decode=False)) for split, rows in splits.items()
        }


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UsageError("this needs Hugging Face datasets; pip install 'ferbench[huggingface]'") from None
    return datasets


def _image_column(rows: Any) -> str:
    for name, feature in rows.features.items():
        if type(feature).__name__ == "Image":
            return str(name)
    raise DataError(f"it has no column of images, but {', '.join(rows.features)}")


def _downloaded(path: str) -> bytes:
    """An image file of a set of the hub; raises ValueError for what the library has not put into its caches.

    A row may name any file of this machine.
    """
    import huggingface_hub

    config = _library().config
    for cache in (huggingface_hub.constants.HF_HUB_CACHE, config.DOWNLOADED_DATASETS_PATH, config.HF_DATASETS_CACHE):
        with suppress(OSError, ValueError):
            return real(Path(cache), Path(path)).read_bytes()
    raise ValueError(f"{quoted(path)} is no file that Hugging Face datasets has downloaded")


def _label_columns(rows: Any) -> dict[str, list[str]]:
    """The columns that may hold labels, with the class names of each that has the feature ClassLabel."""
    columns = {column: rows.features[column] for column in LABELS if column in rows.features}
    return {column: list(map(str, getattr(feature, "names", None) or ())) for column, feature in columns.items()}


def _names_in_rows(rows: Any, columns: Mapping[str, list[str]]) -> Iterator[str]:
    """The labels of the rows, as often as they occur; nothing where all columns have class names anyway."""
    if all(columns.values()):
        return
    for row in rows.select_columns(list(columns)):
        with suppress(ValueError):
            if label := _label(row, columns):
                yield label


def _label(row: Mapping[str, Any], columns: Mapping[str, list[str]]) -> str | None:
    """The first label of a row, None for none; raises ValueError for a number without a name."""
    column = next((column for column in columns if row[column] is not None), None)
    if column is None or row[column] == -1:
        return None
    value, names = row[column], columns[column]
    if not isinstance(value, int):
        return str(value)
    if not names:
        raise ValueError(f"label {value} is a number without a name; give the column the feature ClassLabel")
    if not 0 <= value < len(names):
        raise ValueError(f"label {value} is outside the {len(names)} of its ClassLabel (0 to {len(names) - 1})")
    return names[value]
