"""A run on disk: its record, the files beside it, and what is wrong with them."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ferbench.contract.events import EpochRow
from ferbench.errors import DataError, UsageError, VerificationError
from ferbench.records.formats import CHECKPOINT_FORMAT, check_format
from ferbench.records.history import HISTORY, MAX_HISTORY_BYTES, history_digest, parse_history, read_history
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Record, Result, parse_json
from ferbench.records.store import (
    CHECKPOINT,
    PREDICTIONS,
    RECORD,
    RunStore,
    read_predictions,
    read_record,
)

MAX_LISTED = 10


@dataclass(frozen=True)
class RunFiles:
    """A record with its history and predictions, where they are there and are those of the record."""

    path: Path
    record: Record
    history: list[EpochRow]
    predictions: Predictions | None
    problems: tuple[str, ...]


def find_record(run: Path) -> Path:
    """The record.json that a path means: itself, the one in the folder, or the only one below it."""
    if run.is_file():
        return run
    if (run / RECORD).is_file():
        return run / RECORD
    found = [path for path, _ in islice(RunStore(run).iterate(), MAX_LISTED + 1)]
    if not found:
        raise UsageError(f"{run}: no {RECORD} in this folder or below; name the folder of a finished run")
    if len(found) > 1:
        listed = "\n  ".join(str(path.parent) for path in found[:MAX_LISTED])
        more = "\n  and more" if len(found) > MAX_LISTED else ""
        raise UsageError(f"{run}: several runs; name one of them:\n  {listed}{more}")
    return found[0]


def read_run(path: Path) -> RunFiles:
    """Read a record and the files beside it; only a broken record is an error, the rest becomes a problem to show."""
    try:
        record = read_record(path)
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from None
    problems: list[str] = []
    if record.cell_id != record.cell.cell_id:
        problems.append("The record's cell_id is not that of its cell: somebody has changed one of them.")
    if record.result is None:
        history = _checkpoint_history(path.parent / CHECKPOINT, problems)
        return RunFiles(path, record, history, None, tuple(problems))
    history = _history(path.parent / HISTORY, record.result, problems)
    predictions = _predictions(path.parent / PREDICTIONS, record.result, problems)
    return RunFiles(path, record, history, predictions, tuple(problems))


def _history(path: Path, result: Result, problems: list[str]) -> list[EpochRow]:
    try:
        rows = read_history(path)
        if history_digest(rows) != result.history_digest:
            raise VerificationError(f"{path.name} is not the one that the record was made with")
    except (VerificationError, ValueError) as error:
        problems.append(f"No curves: {error}.")
        return []
    return rows


def _predictions(path: Path, result: Result, problems: list[str]) -> Predictions | None:
    try:
        found = read_predictions(path)
        if found.digest() != result.predictions_digest:
            raise VerificationError(f"{path.name} is not the one that the record was made with")
        classes = len(result.class_names)
        if found.logits.shape[1] != classes or ((found.labels < 0) | (found.labels >= classes)).any():
            raise VerificationError(f"{path.name} is not about the record's {classes} classes")
    except (VerificationError, ValueError) as error:
        problems.append(f"No list of confident errors: {error}.")
        return None
    return found


def _checkpoint_history(path: Path, problems: list[str]) -> list[EpochRow]:
    """What a run that failed had seen: its history is in the checkpoint until it ends well."""
    if not path.is_file():
        return []
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            state = parse_json((file.metadata() or {})["ferbench"].encode(), MAX_HISTORY_BYTES)
        check_format(path, state, CHECKPOINT_FORMAT, "remove it, then run the cell again")
        return parse_history(state["progress"]["history"], path.name)
    except (SafetensorError, OSError, DataError, VerificationError, KeyError, TypeError, ValueError) as error:
        problems.append(f"No curves: {path.name} cannot be read ({error}).")
        return []
