"""What `ferbench prepare` remembers of a user's copy: where it lies, and how it is read."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferbench.contract.dataset import Damage, Dataset, DatasetInfo, OnBadRecord, Sample
from ferbench.data.cache import cache_root
from ferbench.discovery.registry import Entry
from ferbench.errors import DataError
from ferbench.records.cell import NAME_PATTERN, canonical_json
from ferbench.records.files import write_atomic
from ferbench.records.formats import CACHE_FORMAT, check_format


class Prepared(BaseModel):
    """A dataset that the user has named with its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = CACHE_FORMAT
    name: str = Field(pattern=NAME_PATTERN)
    reader: str = Field(description="registered name of what reads it")
    root: Path
    crop: float | None = Field(description="margin around the face box that images are cut to, as a part of its sides")
    on_bad_record: OnBadRecord
    source_digest: str = Field(description="state of the source when it was prepared")
    info: DatasetInfo | None = Field(description="of a packed set; a stream is read where it lies")


def prepared_folder(name: str) -> Path:
    """Where what is known of a prepared set lies: `source.json`, the data card, lists of damage and duplicates."""
    return cache_root() / "prepared" / name


def prepared_names() -> list[str]:
    """What the user has prepared, by name."""
    return sorted(path.parent.name for path in (cache_root() / "prepared").glob("*/source.json"))


def write_prepared(prepared: Prepared) -> None:
    """Remember it; from now on the name opens this copy."""
    write_atomic(prepared_folder(prepared.name) / "source.json", canonical_json(prepared.model_dump(mode="json")))


def read_prepared(name: str) -> Prepared | None:
    """What was remembered under a name; raises DataError where that is damaged."""
    path = prepared_folder(name) / "source.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text("utf-8"))
        command = ["ferbench", "prepare", str(value["reader"]), "--root", str(value["root"])]
        command += [] if value["reader"] == name else ["--name", name]
        command += ["--no-crop"] if value["crop"] is None else ["--crop", str(value["crop"])]
        command += ["--on-bad-record", "skip"] if value["on_bad_record"] == "skip" else []
        check_format(path, value, CACHE_FORMAT, f"run `{shlex.join(command)}`")
        return Prepared.model_validate(value)
    except (OSError, ValueError, TypeError, KeyError, ValidationError):
        raise DataError(f"{path}: damaged; prepare '{name}' again") from None


def open_reader(entry: Entry, root: Path | None, name: str | None) -> Dataset:
    """The dataset that a registered reader makes of a folder."""
    reader = entry.load()
    dataset = reader(root, name) if getattr(reader, "needs_name", False) else reader(root) if root else reader()
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"dataset '{entry.name}': {type(dataset).__name__} does not subclass ferbench.contract.dataset.Dataset"
        )
    return dataset


def open_prepared(entry: Entry, prepared: Prepared) -> Dataset:
    """The dataset as it was prepared; its source is looked at again where images of another size are asked for."""
    if prepared.info is None:
        stream = open_reader(entry, prepared.root, prepared.name)
        stream.on_bad_record = prepared.on_bad_record
        return stream
    return PreparedDataset(entry, prepared, prepared.info)


class PreparedDataset(Dataset):
    """What was read and packed before: the source may be gone."""

    def __init__(self, entry: Entry, prepared: Prepared, info: DatasetInfo) -> None:
        super().__init__(prepared.root, prepared.name)
        self._entry, self._prepared, self._info = entry, prepared, info
        self.crop, self.on_bad_record = prepared.crop, prepared.on_bad_record

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def samples(self) -> Iterator[Sample | Damage]:
        return open_reader(self._entry, self._prepared.root, self._prepared.name).samples()

    def source_digest(self) -> str:
        return self._prepared.source_digest
