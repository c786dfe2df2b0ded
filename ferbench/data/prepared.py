"""What `ferbench prepare` remembers of a user's copy: where it lies, and how it is read."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferbench.contract.dataset import Dataset, OnBadRecord
from ferbench.data.pack import cache_root
from ferbench.errors import DataError
from ferbench.records.cell import NAME_PATTERN, canonical_json
from ferbench.records.files import write_atomic
from ferbench.registry import Entry


class Prepared(BaseModel):
    """A data set that the user has named with its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    reader: str = Field(description="registered name of what reads it")
    root: Path
    crop: float | None = Field(description="margin around the face box that images are cut to, as a part of its sides")
    on_bad_record: OnBadRecord
    source_digest: str = Field(description="state of the source when it was prepared")


def prepared_folder(name: str) -> Path:
    """Where what is known of a prepared set lies: `source.json`, the data card, lists of damage and duplicates."""
    return cache_root() / "prepared" / name


def write_prepared(prepared: Prepared) -> None:
    """Remember it; from now on the name opens this copy."""
    write_atomic(prepared_folder(prepared.name) / "source.json", canonical_json(prepared.model_dump(mode="json")))


def read_prepared(name: str) -> Prepared | None:
    """What was remembered under a name; raises DataError where that is damaged."""
    path = prepared_folder(name) / "source.json"
    if not path.is_file():
        return None
    try:
        return Prepared.model_validate(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, ValidationError):
        raise DataError(f"{path}: damaged; prepare '{name}' again") from None


def open_reader(entry: Entry, root: Path | None, name: str | None) -> Dataset:
    """The data set that a registered reader makes of a folder."""
    reader = entry.load()
    dataset = reader(root, name) if getattr(reader, "needs_name", False) else reader(root) if root else reader()
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"dataset '{entry.name}': {type(dataset).__name__} does not subclass ferbench.contract.dataset.Dataset"
        )
    return dataset


def open_prepared(entry: Entry, prepared: Prepared) -> Dataset:
    """The data set as it was prepared. Its source is not looked at again until images of another size are asked for."""
    dataset = open_reader(entry, prepared.root, prepared.name)
    dataset.crop, dataset.on_bad_record = prepared.crop, prepared.on_bad_record
    dataset.source_digest = lambda: prepared.source_digest  # type: ignore[method-assign]
    return dataset
