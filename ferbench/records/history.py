"""The history of a run: one row for each epoch, and the digest of it that the record contains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ferbench.contract.events import EpochRow
from ferbench.errors import VerificationError
from ferbench.records.cell import digest
from ferbench.records.files import read_bounded
from ferbench.records.schema import first_problem, parse_json, pretty_json

HISTORY = "history.json"
MAX_HISTORY_BYTES = 50_000_000

_ROWS: TypeAdapter[list[EpochRow]] = TypeAdapter(list[EpochRow])


def history_digest(history: Sequence[EpochRow]) -> str:
    """SHA-256 over the canonical JSON of the rows."""
    return digest([row.to_json() for row in history])


def history_bytes(history: Sequence[EpochRow]) -> bytes:
    """The bytes of history.json."""
    return pretty_json([row.to_json() for row in history])


def read_history(path: Path) -> list[EpochRow]:
    """Read an untrusted history.json; raises VerificationError, which names the row, for every defect."""
    data = read_bounded(path, MAX_HISTORY_BYTES)
    try:
        rows = parse_json(data, MAX_HISTORY_BYTES)
    except VerificationError as error:
        raise VerificationError(f"{path.name}: {error}") from None
    return parse_history(rows, path.name)


def parse_history(rows: Any, source: str) -> list[EpochRow]:
    """Return the rows in an untrusted JSON value; raises VerificationError with the name of its source."""
    try:
        return _ROWS.validate_python(rows)
    except ValidationError as error:
        raise VerificationError(f"{source} is not a history: {first_problem(error)}") from None
