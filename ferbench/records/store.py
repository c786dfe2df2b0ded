"""The runs folder: where each cell's record lies, who works on it, and what is there."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ferbench.contract.events import EpochRow
from ferbench.errors import DataError, UsageError, VerificationError, listed
from ferbench.records.cell import Cell
from ferbench.records.files import file_digest, read_bounded, remove_leftovers, unwritable, write_atomic, write_together
from ferbench.records.formats import FORMAT, RUNS_FORMAT, check_format
from ferbench.records.history import HISTORY, history_bytes, history_digest
from ferbench.records.lease import Lease, is_held
from ferbench.records.predictions import MAX_PREDICTIONS_BYTES, Predictions
from ferbench.records.schema import MAX_RECORD_BYTES, Fingerprints, Record, parse_json, pretty_json

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
CHECKPOINT, CHECKPOINT_BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
MODEL = "model.safetensors"
RUNNING = "running.json"
CANCEL = ".cancel"
LEASE = ".lease"
MAX_LISTED = 10
MARKER = "ferbench-runs.json"
"""Says which format a runs folder has; records themselves are read whatever it says."""


@dataclass(frozen=True)
class BrokenRecord:
    """Why a record.json cannot be used."""

    reason: str


class RunningMarker(BaseModel):
    """Who works, or worked until it was killed, on a cell: the content of running.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Cell
    pid: int
    host: str
    started_at: str

    @classmethod
    def read(cls, path: Path) -> "RunningMarker":
        """One running.json; raises VerificationError or ValidationError for what is none."""
        return cls.model_validate(parse_json(read_bounded(path, MAX_RECORD_BYTES)))


class RunStore:
    """A folder of records; the tree is the cache and the state that a sweep resumes from."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._leases: dict[Path, Lease] = {}

    def folder(self, cell: Cell) -> Path:
        """The cell's folder, whether it exists or not."""
        return self.root / cell.folder()

    @contextmanager
    def lock(self, cell: Cell) -> Iterator[Lease]:
        """Hold the cell's folder alone; raises LeaseHeldError, which names the holder, in a second process.

        What is written meanwhile is checked against the lease: whoever has lost it gets a LeaseLostError.
        """
        folder = self.folder(cell)
        lease = Lease(folder / LEASE)
        self._check_format()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lease.acquire()
        except OSError as error:
            raise unwritable(error, folder) from error
        self._leases[folder] = lease
        try:
            remove_leftovers(folder)
            if not (self.root / MARKER).exists():
                write_atomic(self.root / MARKER, pretty_json({FORMAT: RUNS_FORMAT}))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            marker = RunningMarker(cell=cell, pid=os.getpid(), host=socket.gethostname(), started_at=now)
            # stays behind where the block is left by an exception or a kill: so `status` knows of interrupted cells
            write_atomic(folder / RUNNING, pretty_json(marker.model_dump(mode="json")))
            yield lease
            with suppress(OSError):
                (folder / RUNNING).unlink(missing_ok=True)
        finally:
            del self._leases[folder]
            lease.release()

    def _check_format(self) -> None:
        """Raises DataError for a folder that another format was written into; one without a number is of 0.1."""
        path = self.root / MARKER
        if not path.is_file():
            return
        try:
            found = parse_json(read_bounded(path, MAX_RECORD_BYTES))
        except VerificationError as error:
            raise DataError(f"{path}: {error}; remove it, then run again") from None
        check_format(path, found, RUNS_FORMAT, "name another folder with --runs, or update ferbench")

    def read(self, cell: Cell) -> Record | None:
        """The cell's record; None if there is none, a VerificationError if it is broken or of another cell."""
        path = self.folder(cell) / RECORD
        if not path.exists():
            return None
        record = read_record(path)
        if record.cell_id != cell.cell_id or record.cell != cell:
            raise VerificationError(f"{path} is the record of another cell; move it away, then run again")
        return record

    def is_done(self, cell: Cell, fingerprints: Fingerprints | None = None) -> bool:
        """Whether the cell has a whole result, on the same data where fingerprints are given."""
        try:
            record = self.read(cell)
        except VerificationError:
            return False
        if record is None or record.result is None:
            return False
        folder = self.folder(cell)
        if not ((folder / PREDICTIONS).is_file() and (folder / HISTORY).is_file()):
            return False
        return fingerprints is None or record.result.fingerprints == fingerprints

    def write_result(
        self,
        cell: Cell,
        record: Record,
        predictions: Predictions | None = None,
        history: Sequence[EpochRow] | None = None,
    ) -> Path:
        """Write predictions, history and, last, the record; without a result the record alone. Returns its path."""
        if record.cell != cell or record.cell_id != cell.cell_id:
            raise ValueError("the record is not that of the cell")
        folder = self.folder(cell)
        check = self._renewed_lease(folder)
        if record.result is None:
            write_together(folder, {RECORD: record.to_json()}, (PREDICTIONS, HISTORY), check)
            return folder / RECORD
        if predictions is None or history is None:
            raise ValueError("a result needs its predictions and its history")
        digests = predictions.digest(), history_digest(history)
        if digests != (record.result.predictions_digest, record.result.history_digest):
            raise ValueError("the digests in the record are not those of the predictions and the history")
        files = {PREDICTIONS: predictions.to_parquet(), HISTORY: history_bytes(history), RECORD: record.to_json()}
        write_together(folder, files, check=check)
        return folder / RECORD

    def _renewed_lease(self, folder: Path) -> Callable[[], object]:
        """What raises LeaseLostError for an owner that has lost the folder, such as one that was paused."""
        lease = self._leases.get(folder)
        if lease is None:
            return lambda: None
        lease.renew()
        return lease.check

    def iterate(self) -> Iterator[tuple[Path, Record | BrokenRecord]]:
        """Every record.json below the root with its record or what is wrong with it, sorted by path.

        A folder that cannot be listed counts as one with a broken record, since it may hold one.
        """
        for path, problem in self._paths(RECORD):
            yield path, BrokenRecord(problem) if problem else read_or_broken(path)

    def begun(self) -> Iterator[tuple[RunningMarker, bool]]:
        """Every cell that has been begun and not ended, and whether its process still holds the lease."""
        for path, _ in self._paths(RUNNING):
            with suppress(VerificationError, ValidationError):
                yield RunningMarker.read(path), is_held(path.with_name(LEASE))

    def cancel(self, cell: Cell) -> None:
        """Ask whoever runs the cell, now or next, to save and leave, wherever that is."""
        folder = self.folder(cell)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CANCEL).touch()
        except OSError as error:
            raise unwritable(error, folder) from error

    def is_cancelled(self, cell: Cell) -> bool:
        """Whether that was asked, and not withdrawn by `allow`."""
        return (self.folder(cell) / CANCEL).exists()

    def allow(self, cell: Cell) -> None:
        """Withdraw what `cancel` asked."""
        with suppress(OSError):
            (self.folder(cell) / CANCEL).unlink(missing_ok=True)

    def _paths(self, name: str) -> list[tuple[Path, str]]:
        """Whatever has that name, and why it is not known whether a folder has it; sorted.

        Linked folders are not entered, and who reads a linked file is told so.
        """
        found: list[tuple[Path, str]] = []
        folders = [self.root]
        while folders:  # not os.walk, which gives up some thousand folders down
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    inner = list(entries)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                found.append((folder / name, f"its folder cannot be listed ({error.strerror or error})"))
                continue
            found += [(folder / name, "") for entry in inner if entry.name == name]
            folders += [Path(entry.path) for entry in inner if entry.is_dir(follow_symlinks=False)]
        return sorted(found, key=lambda place: place[0].relative_to(self.root).parts)


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
        lines = [str(path.parent) for path in found[:MAX_LISTED]] + ["and more"] * (len(found) > MAX_LISTED)
        raise UsageError(f"{run}: several runs; name one of them:{listed(lines)}")
    return found[0]


def is_model(path: Path, digest: str) -> bool:
    """Whether the file is there and the one whose SHA-256 a record holds."""
    return path.is_file() and file_digest(path) == digest


def read_record(path: Path) -> Record:
    """One record.json from anywhere; every defect is a VerificationError."""
    return Record.from_json(read_bounded(path, MAX_RECORD_BYTES))


def read_or_broken(path: Path) -> Record | BrokenRecord:
    """One record.json from anywhere, or what is wrong with it."""
    try:
        return read_record(path)
    except VerificationError as error:
        return BrokenRecord(str(error))


def read_predictions(path: Path) -> Predictions:
    """One predictions.parquet from anywhere; every defect is a VerificationError."""
    return Predictions.from_parquet(read_bounded(path, MAX_PREDICTIONS_BYTES))
