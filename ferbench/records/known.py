"""What this machine knows about the datasets and tunings that records name; checks never guess what is unknown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from ferbench.contract.strict import Strict
from ferbench.errors import DataError, VerificationError
from ferbench.records.cell import Cell
from ferbench.records.files import read_bounded
from ferbench.records.schema import HEX64, TuningStamp, first_problem, parse_json, pretty_json

T = TypeVar("T")

MAX_PINS_BYTES = 20_000_000
PINNED, BASELINES = "pinned", "baselines.json"
"""Next to the records of a board: the folder of pinned facts of datasets, and the list of its supervised rows."""


@dataclass(frozen=True)
class KnownDataset:
    """The facts of a dataset that checks need: its family of recipes, its classes, whether labels may be published."""

    family: str
    classes: Mapping[str, tuple[str, ...]]
    publishes_labels: bool


@dataclass(frozen=True)
class KnownTuning:
    """How an installed distribution tunes a part of a cell, and the hash of its code; `trials` is 0 if it does not."""

    distribution: str
    trials: int
    options: Mapping[str, JsonValue]
    source_hash: str

    def says(self, stamp: TuningStamp) -> bool:
        """Whether a record's stamp states the same tuning."""
        return (self.distribution, self.trials, dict(self.options)) == (stamp.distribution, stamp.trials, stamp.options)


Counts = Mapping[str, int | Mapping[str, int] | None]
"""Numbers of images, by the names of the fields of `Result`."""


class PinnedSplit(Strict):
    """The split of a cell: its fingerprints by name and its counts by the names of the result's fields."""

    fingerprints: dict[str, str] = Field(description="fingerprints of the split, without that of the data")
    counts: dict[str, int | dict[str, int] | None] = Field(description="n_labeled and others, and labels per class")


class Pins(Strict):
    """The pinned splits of a dataset, by which records can be checked on machines without the dataset."""

    command: str = Field(description="the command that made the file")
    dataset: str = Field(description="name of the dataset")
    data: str = Field(pattern=HEX64, description="fingerprint of its packed data")
    splits: dict[str, PinnedSplit] = Field(description="the splits, by the `split_key` of a cell")

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return pretty_json(self.model_dump(mode="json"))


def split_key(cell: Cell) -> str:
    """Return the part of a cell that determines its split, without the method: `ratio-v1/faces/ratio-0.05/seed0`."""
    return f"{cell.protocol}/{cell.dataset_label}/{cell.budget.label()}/seed{cell.seed}"


def _no_dataset(name: str) -> KnownDataset | None:
    return None


def _no_tuning(cell: Cell, role: str) -> KnownTuning | None:
    return None


@dataclass(frozen=True)
class Known:
    """Functions that look up datasets and tunings (by cell and role), and the pins of a board by dataset."""

    dataset: Callable[[str], KnownDataset | None] = _no_dataset
    tuning: Callable[[Cell, str], KnownTuning | None] = _no_tuning
    pins: Mapping[str, Pins] = field(default_factory=lambda: MappingProxyType({}))


NOTHING = Known()


def read_pins(folder: Path) -> dict[str, Pins]:
    """Read the pins of a board, by dataset; raises DataError if a file is not a valid one."""
    found = {}
    for path in sorted((folder / PINNED).glob("*.json")):
        pins = _read(path, TypeAdapter(Pins))
        found[pins.dataset] = pins
    return found


def read_baselines(folder: Path) -> dict[str, str]:
    """Read the baselines of a board: cell folder to SHA-256 of its record.json; empty if the board has no such file."""
    path = folder / BASELINES
    return _read(path, TypeAdapter(dict[str, str])) if path.exists() else {}


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_python(parse_json(read_bounded(path, MAX_PINS_BYTES), MAX_PINS_BYTES))
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; make it again or take it from the repository") from None
    except VerificationError as error:
        raise DataError(f"{path}: {error}; make it again or take it from the repository") from None
