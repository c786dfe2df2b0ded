"""The entries that `ferbench prepare` writes for a user's copies: their folders, and how they are read."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferbench.contract.account import NOTHING_SAID, ReaderOptions
from ferbench.contract.dataset import Damage, Dataset, DatasetInfo, OnBadRecord, Sample
from ferbench.data.cache import cache_root, read_sealed, write_sealed
from ferbench.discovery.registry import Entry
from ferbench.errors import DataError, UsageError
from ferbench.records.cell import NAME_PATTERN, digest
from ferbench.records.formats import CACHE_FORMAT, check_format


class Prepared(BaseModel):
    """A dataset that the user has prepared from a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = CACHE_FORMAT
    name: str = Field(pattern=NAME_PATTERN)
    reader: str = Field(description="registered name of its reader")
    root: Path
    crop: float | None = Field(description="margin around the face box of cropped images, as a fraction of its sides")
    on_bad_record: OnBadRecord
    options: ReaderOptions = Field(NOTHING_SAID, description="the user's options for columns, splits and classes")
    source_digest: str = Field(description="digest of the source when it was prepared")
    info: DatasetInfo | None = Field(description="description of a packed dataset; null for a stream")


def prepared_folder(name: str) -> Path:
    """The folder of a prepared dataset: `source.json`, the data card, lists of damages and duplicates."""
    return cache_root() / "prepared" / name


def prepared_names() -> list[str]:
    """The names of all prepared datasets, sorted."""
    return sorted(path.parent.name for path in (cache_root() / "prepared").glob("*/source.json"))


def write_prepared(prepared: Prepared) -> None:
    """Register a copy; from now on its name opens this copy."""
    write_sealed(prepared_folder(prepared.name) / "source.json", prepared.model_dump(mode="json"))


def read_prepared(name: str) -> Prepared | None:
    """The entry of a name, or None; raises DataError if it is damaged."""
    path = prepared_folder(name) / "source.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text("utf-8"))
        command = ["ferbench", "prepare", str(value["reader"]), "--root", str(value["root"])]
        command += [] if value["reader"] == name else ["--name", name]
        command += ["--no-crop"] if value["crop"] is None else ["--crop", str(value["crop"])]
        command += ["--on-bad-record", "skip"] if value["on_bad_record"] == "skip" else []
        command += option_words(ReaderOptions(**value.get("options", {})))
        check_format(path, value, CACHE_FORMAT, f"run `{shlex.join(command)}`")
        return Prepared.model_validate(read_sealed(path))
    except (OSError, ValueError, TypeError, KeyError, ValidationError):
        raise DataError(f"{path}: damaged; run `ferbench prepare` for '{name}' again") from None


OPTIONS = {"label_column": "--label-column", "split_column": "--split-column", "id_column": "--id-column"}


def option_words(options: ReaderOptions) -> list[str]:
    """The words of the command line of `ferbench prepare` for these options."""
    columns = {flag: getattr(options, name) for name, flag in OPTIONS.items()}
    words = [word for flag, column in columns.items() if column for word in (flag, column)]
    words += [word for name, split in options.splits.items() for word in ("--split", f"{name}={split}")]
    words += [word for name, of_class in options.classes.items() for word in ("--class", f"{name}={of_class}")]
    return words + [word for pattern in options.ignore for word in ("--ignore", pattern)]


def command_words(reader_name: str, dataset: Dataset) -> list[str]:
    """The command that prepares this copy with its current settings."""
    words = ["ferbench", "prepare", reader_name, "--root", str(dataset.root)]
    words += ["--name", str(dataset.name)] if dataset.needs_name else []
    if dataset.crop != type(dataset).crop:
        words += ["--no-crop"] if dataset.crop is None else ["--crop", f"{dataset.crop:g}"]
    words += ["--on-bad-record", "skip"] if dataset.on_bad_record == "skip" else []
    return words + option_words(dataset.options)


def open_reader(entry: Entry, root: Path | None, name: str | None, options: ReaderOptions = NOTHING_SAID) -> Dataset:
    """Open a folder with a registered reader; raises UsageError for an option that the reader does not take."""
    reader = entry.load()
    dataset = reader(root, name) if getattr(reader, "needs_name", False) else reader(root) if root else reader()
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"dataset '{entry.name}': {type(dataset).__name__} does not subclass ferbench.contract.dataset.Dataset"
        )
    if given := options.given():
        _follow(dataset, entry.name, options, given)
    return dataset


def _follow(dataset: Dataset, name: str, options: ReaderOptions, given: Mapping[str, object]) -> None:
    """Apply the user's options to a reader; they become part of its digest because they change its samples."""
    if unknown := given.keys() - dataset.takes - {"ignore"}:
        flags = ", ".join({**OPTIONS, "splits": "--split", "classes": "--class"}[option] for option in sorted(unknown))
        raise UsageError(f"'{name}' knows its layout and does not take {flags}; omit it")
    dataset.options = options
    digest_of_source, samples = dataset.source_digest, dataset.samples
    dataset.source_digest = lambda: digest([digest_of_source(), given])  # type: ignore[method-assign]
    dataset.account.patterns = options.ignore
    if options.ignore:
        dataset.samples = lambda: _without_ignored(dataset, samples())  # type: ignore[method-assign]


def _without_ignored(dataset: Dataset, entries: Iterator[Sample | Damage]) -> Iterator[Sample | Damage]:
    """The entries without the damages that match `--ignore`; samples are never omitted."""
    for entry in entries:
        if isinstance(entry, Damage) and (pattern := dataset.account.ignored_by(entry.record)):
            dataset.account.ignore("entry", entry.record, f"--ignore {pattern}")
        else:
            yield entry


def open_prepared(entry: Entry, prepared: Prepared) -> Dataset:
    """The dataset as it was prepared; its source is read again only for images of another size."""
    if prepared.info is None:
        stream = open_reader(entry, prepared.root, prepared.name, prepared.options)
        stream.on_bad_record = prepared.on_bad_record
        return stream
    return PreparedDataset(entry, prepared, prepared.info)


class PreparedDataset(Dataset):
    """A dataset that was packed before; its source may be gone."""

    def __init__(self, entry: Entry, prepared: Prepared, info: DatasetInfo) -> None:
        super().__init__(prepared.root, prepared.name)
        self._entry, self._prepared, self._info = entry, prepared, info
        self.crop, self.on_bad_record = prepared.crop, prepared.on_bad_record

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def samples(self) -> Iterator[Sample | Damage]:
        prepared = self._prepared
        reader = open_reader(self._entry, prepared.root, prepared.name, prepared.options)
        reader.crop, reader.on_bad_record = self.crop, self.on_bad_record
        command = shlex.join(command_words(prepared.reader, reader))
        try:
            is_the_same = reader.source_digest() == prepared.source_digest
        except (DataError, OSError) as error:
            remedy = f"bring it back, or run `{command}` with its new place"
            raise DataError(
                f"'{prepared.name}' must be packed at another size, but its source: {error}; {remedy}"
            ) from None
        if not is_the_same:
            raise DataError(f"{prepared.root}: has changed since '{prepared.name}' was prepared; run `{command}` again")
        return reader.samples()

    def source_digest(self) -> str:
        return self._prepared.source_digest
