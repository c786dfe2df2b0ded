"""Opens the dataset that the user named after `--dataset`."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.contract.dataset import Dataset, Sample
from ferbench.data.prepare.joined import JoinedDataset, Part
from ferbench.data.prepare.registered_copies import open_prepared, open_reader, read_prepared
from ferbench.data.prepare.which_reader import prepare_commands
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.readers.account import add_files, refuse_unused
from ferbench.readers.description import DESCRIPTION, read_description
from ferbench.readers.open_stream import is_stream, open_stream
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import NAME_PATTERN

DEFAULT_DATASET = "synthfaces"
DEFAULT_HINT = "in a clone of the repository: pip install -e plugins/ferbench-synthfaces"


def open_dataset(registry: Registry, name: str) -> Dataset:
    """The dataset of a registered or prepared name, or of a folder with a `dataset.json`.

    Raises UsageError for an unknown name (with the nearest name), and DataError if the source is missing, unreadable or
    not yet prepared.
    """
    known, prepared = registry.names("datasets"), None if os.sep in name else read_prepared(name)
    nameless = name not in known and prepared is None
    if os.sep in name or name.startswith(".") or (nameless and Path(name).is_dir()):
        return _open_folder(registry, Path(name))
    if _is_default(name) and not any(map(_is_default, known)):
        raise PluginMissing(f"dataset '{name}' is not installed: {DEFAULT_HINT}")
    if prepared:
        return open_prepared(registry.get("datasets", prepared.reader), prepared)
    entry = registry.get("datasets", name)
    if getattr(entry.load(), "needs_root", False):
        raise DataError(f"dataset '{name}' needs your own copy: run ferbench prepare {name} --root DIR once")
    return open_reader(entry, None, None)


def _is_default(name: str) -> bool:
    """Whether a name is the default dataset, or another dataset of the same distribution."""
    return name.partition("-")[0] == DEFAULT_DATASET


def check_name(registry: Registry, name: str) -> None:
    """Raise UsageError for a name that a user's dataset cannot have."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"--name {name}: use lower-case letters, digits, '.', '_' and '-', such as my-faces")
    if name in registry.names("datasets"):
        raise UsageError(f"--name {name}: this name belongs to an installed dataset; choose another")


def _open_folder(registry: Registry, folder: Path) -> Dataset:
    described = not folder.is_dir() or (folder / DESCRIPTION).exists()
    if not described and (commands := prepare_commands(registry, folder)):
        raise DataError(f"{folder}: no {DESCRIPTION} here, so prepare it first: {' or '.join(commands)}")
    dataset = _open_described(registry, folder)
    if dataset.info.name in registry.names("datasets"):
        raise UsageError(
            f"{folder / DESCRIPTION}: the name '{dataset.info.name}' belongs to an installed dataset; "
            "give yours another name in that file"
        )
    return dataset


def _open_described(registry: Registry, folder: Path) -> Dataset:
    """Open what the `dataset.json` of a folder describes: a stream, joined sets, or Parquet files."""
    _, description, info = read_description(folder)
    if is_stream(folder):
        return open_stream(folder)
    if "joined" not in description:
        return _whole(ParquetDataset(folder))
    where, names = folder / DESCRIPTION, description["joined"]
    if not (isinstance(names, list) and len({str(name).partition("@")[0] for name in names}) == len(names) > 1):
        raise DataError(
            f"{where}: joined is {names!r}; name two or more different sets, the tested one first, such as "
            '["aff-wild2", "affectnet@7"]'
        )
    return JoinedDataset(folder, info.name, [_part(registry, where, *str(name).partition("@")[::2]) for name in names])


def _part(registry: Registry, where: Path, name: str, task: str) -> Part:
    dataset = open_dataset(registry, name)
    if isinstance(dataset, JoinedDataset):
        raise UsageError(f"{where}: '{name}' is joined itself; name its sets")
    return Part(dataset, *classes_of(dataset, task or None))


def _whole(dataset: ParquetDataset) -> ParquetDataset:
    """A set that raises an error at the end of reading if other files look like data and were not used."""
    samples = dataset.samples

    def all_samples() -> Iterator[Sample]:
        yield from samples()
        add_files(dataset)
        refuse_unused(dataset)

    dataset.samples = all_samples  # type: ignore[method-assign]
    return dataset


class PluginMissing(UsageError):
    """The plugin that would provide a built-in default is not installed."""

    exit_code = 3


def classes_of(dataset: Dataset, task: str | None) -> tuple[str, tuple[str, ...]]:
    """The task's name and its class names; None means the dataset's default task."""
    info = dataset.info
    task = task or info.default_classes
    if not info.classes:
        raise UsageError(f"dataset '{info.name}' is an unlabeled pool; use it with --unlabeled, not with --dataset")
    if task not in info.classes:
        raise UsageError(f"--classes {task}: dataset '{info.name}' has the tasks {', '.join(sorted(info.classes))}")
    return task, info.classes[task]


def shared_classes(dataset: Dataset, class_names: Sequence[str], other: Dataset) -> tuple[str, ...]:
    """The trained classes that another dataset has too, in any of its tasks, by name and in the trained order.

    Raises UsageError for a pool, for the trained dataset itself, and if fewer than two classes are shared.
    """
    name, theirs = other.info.name, list(dict.fromkeys(one for names in other.info.classes.values() for one in names))
    if not theirs:
        raise UsageError(f"--test-on {name}: this is an unlabeled pool; name a dataset with classes")
    if name == dataset.info.name:
        raise UsageError(f"--test-on {name}: every run on '{name}' is tested on it anyway; name another dataset")
    shared = tuple(one for one in class_names if one in theirs)
    if len(shared) < 2:
        raise UsageError(
            f"--test-on {name}: '{dataset.info.name}' ({', '.join(class_names)}) and '{name}' ({', '.join(theirs)}) "
            f"share {'one class' if shared else 'no class'}, and two are needed; name another dataset or --classes"
        )
    return shared
