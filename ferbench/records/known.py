"""What the names in records stand for on this machine, as rules need it; what is not known is said and not guessed."""

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
"""Beside the records of a board: a folder of what is pinned of datasets, and the list of its supervised rows."""


@dataclass(frozen=True)
class KnownDataset:
    """What rules must know of a dataset: which recipe is its, its classes, and whether its labels may be passed on."""

    family: str
    classes: Mapping[str, tuple[str, ...]]
    publishes_labels: bool


@dataclass(frozen=True)
class KnownTuning:
    """How an installed distribution tunes a part of a cell, in no trials if it does not, and the hash of its code."""

    distribution: str
    trials: int
    options: Mapping[str, JsonValue]
    source_hash: str

    def says(self, stamp: TuningStamp) -> bool:
        """Whether a record says the same."""
        return (self.distribution, self.trials, dict(self.options)) == (stamp.distribution, stamp.trials, stamp.options)


Counts = Mapping[str, int | Mapping[str, int] | None]
"""Of images, by the names that the result has them under."""


class PinnedSplit(Strict):
    """The rows of a cell: fingerprints by name and counts by the names of the result, as the data gave them."""

    fingerprints: dict[str, str] = Field(description="of the split, without that of the data")
    counts: dict[str, int | dict[str, int] | None] = Field(description="n_labeled and others, and labels per class")


class Pins(Strict):
    """What a dataset has given, once and for all: checked against without holding it."""

    command: str = Field(description="the command that has made the file")
    dataset: str = Field(description="name of the dataset")
    data: str = Field(pattern=HEX64, description="fingerprint of its packed data")
    splits: dict[str, PinnedSplit] = Field(description="by `split_key` of a cell")

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return pretty_json(self.model_dump(mode="json"))


def split_key(cell: Cell) -> str:
    """What decides the rows of a cell, and nothing of its method: `ratio-v1/synthfaces/ratio-0.05/seed0`."""
    return f"{cell.protocol}/{cell.dataset_label}/{cell.budget.label()}/seed{cell.seed}"


def _no_dataset(name: str) -> KnownDataset | None:
    return None


def _no_tuning(cell: Cell, role: str) -> KnownTuning | None:
    return None


@dataclass(frozen=True)
class Known:
    """What is known here of datasets, of tunings by cell and role, and the pins of a board by dataset."""

    dataset: Callable[[str], KnownDataset | None] = _no_dataset
    tuning: Callable[[Cell, str], KnownTuning | None] = _no_tuning
    pins: Mapping[str, Pins] = field(default_factory=lambda: MappingProxyType({}))


NOTHING = Known()


def read_pins(folder: Path) -> dict[str, Pins]:
    """The pins of a board by dataset; raises DataError for a file that is none."""
    found = {}
    for path in sorted((folder / PINNED).glob("*.json")):
        pins = _read(path, TypeAdapter(Pins))
        found[pins.dataset] = pins
    return found


def read_baselines(folder: Path) -> dict[str, str]:
    """The supervised rows that a board had: folder of the cell to SHA-256 of its record.json; empty where none are."""
    path = folder / BASELINES
    return _read(path, TypeAdapter(dict[str, str])) if path.exists() else {}


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_python(parse_json(read_bounded(path, MAX_PINS_BYTES), MAX_PINS_BYTES))
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; make it anew or take it from the repository") from None
    except VerificationError as error:
        raise DataError(f"{path}: {error}; make it anew or take it from the repository") from None
