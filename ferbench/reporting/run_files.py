"""A run on disk: its record, the files next to it, and their problems."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ferbench.contract.events import EpochRow
from ferbench.errors import DataError, VerificationError
from ferbench.records.formats import CHECKPOINT_FORMAT, check_format
from ferbench.records.history import HISTORY, MAX_HISTORY_BYTES, history_digest, parse_history, read_history
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Record, Result, parse_json
from ferbench.records.store import CHECKPOINT, PREDICTIONS, read_named, read_predictions
from ferbench.records.tensor_files import METADATA_KEY


@dataclass(frozen=True)
class RunFiles:
    """A record with its history and predictions, if these exist and belong to the record."""

    path: Path
    record: Record
    history: list[EpochRow]
    predictions: Predictions | None
    problems: tuple[str, ...]


def read_run(path: Path) -> RunFiles:
    """Read a record and the files next to it; raises VerificationError only for a broken record.

    Defects of the other files are listed in `problems`.
    """
    record = read_named(path)
    problems: list[str] = []
    if record.cell_id != record.cell.cell_id:
        problems.append("The record's cell_id does not match its cell: one of them was edited.")
    history: list[EpochRow] = []
    predictions = None
    with _noted("No curves", problems):
        history = _history(path.parent, record.result)
    if record.result:
        with _noted("No list of confident errors", problems):
            predictions = _predictions(path.parent / PREDICTIONS, record.result)
    return RunFiles(path, record, history, predictions, tuple(problems))


@contextmanager
def _noted(consequence: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (VerificationError, ValueError) as error:
        problems.append(f"{consequence}: {error}.")


def _history(folder: Path, result: Result | None) -> list[EpochRow]:
    """The history of a run with a result; for a failed run, the history in its checkpoint."""
    if result is None:
        return _checkpoint_history(folder / CHECKPOINT)
    rows = read_history(folder / HISTORY)
    if history_digest(rows) != result.history_digest:
        raise VerificationError(f"{HISTORY} does not match the digest in the record")
    return rows


def _checkpoint_history(path: Path) -> list[EpochRow]:
    if not path.is_file():
        return []
    try:
        with safe_open(path, framework="np") as file:
            state = parse_json((file.metadata() or {})[METADATA_KEY].encode(), MAX_HISTORY_BYTES)
        check_format(path, state, CHECKPOINT_FORMAT, "remove it, then run the cell again")
        return parse_history(state["progress"]["history"], path.name)
    except (SafetensorError, OSError, DataError, VerificationError, KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"{path.name} cannot be read ({error})") from None


def _predictions(path: Path, result: Result) -> Predictions:
    found = read_predictions(path)
    if found.digest() != result.predictions_digest:
        raise VerificationError(f"{path.name} does not match the digest in the record")
    classes = len(result.class_names)
    if found.logits.shape[1] != classes or ((found.labels < 0) | (found.labels >= classes)).any():
        raise VerificationError(f"{path.name} does not have the record's {classes} classes")
    return found
