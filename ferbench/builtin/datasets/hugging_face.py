"""A data set that Hugging Face `datasets` loads: saved to disk, a folder that it understands, or one of the hub."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import NamedDataset, split_name
from ferbench.contract.dataset import Damage, Sample, tree_digest
from ferbench.contract.layout import class_name
from ferbench.errors import DataError, UsageError

LABELS = ("label", "labels", "emotion", "expression")


class HuggingFace(NamedDataset):
    """The first Image column, and the label by the *name* of its ClassLabel; a number without names is refused.

    The root is a folder written by `save_to_disk`, a folder that `load_dataset` reads (imagefolder, Parquet, ...), or
    the name of a set of the hub (`user/name`), which is downloaded. Needs `pip install 'ferbench[huggingface]'`.
    """

    rule = "loaded by Hugging Face datasets; class names come from the ClassLabel feature"

    def found_classes(self) -> Iterator[str]:
        for rows in self._splits.values():
            for name in _class_names(rows):
                try:
                    yield class_name(name)
                except ValueError:
                    continue

    def source_digest(self) -> str:
        """Of the folder; of a set of the hub its fingerprints."""
        if self.root is not None and self.root.is_dir():
            return tree_digest(self.root)
        return " ".join(f"{split} {rows._fingerprint}" for split, rows in sorted(self._splits.items()))

    def samples(self) -> Iterator[Sample | Damage]:
        for split, rows in self._splits.items():
            column, names = _image_column(rows), _class_names(rows)
            for number, row in enumerate(rows):
                where = f"{split}/{number}"
                try:
                    yield self._sample(where, split, row[column], _label(row, names))
                except ValueError as error:
                    yield Damage(where, str(error))

    def _sample(self, where: str, split: str, image: dict[str, Any], label: str | None) -> Sample:
        expression = None if label is None else class_name(label)
        content = image["bytes"] or Path(image["path"])
        return Sample(where, content, split_name(split) if expression else "unlabeled", expression)

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


def _class_names(rows: Any) -> list[str]:
    for column in LABELS:
        if names := getattr(rows.features.get(column), "names", None):
            return [str(name) for name in names]
    return []


def _label(row: dict[str, Any], names: list[str]) -> str | None:
    value = next((row[column] for column in LABELS if row.get(column) is not None), None)
    if value is None or value == -1:
        return None
    if isinstance(value, int):
        if not names:
            raise ValueError(f"label {value} is a number without a name; give the column the feature ClassLabel")
        return names[value]
    return str(value)
