"""The runs folder: the files of each cell, the process that works on it, and the search for records."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ferbench.contract.events import EpochRow
from ferbench.errors import DataError, FerbenchError, UsageError, VerificationError, listed
from ferbench.records.cell import Cell
from ferbench.records.files import file_digest, read_bounded, remove_leftovers, unwritable, write_atomic, write_together
from ferbench.records.formats import FORMAT, RUNS_FORMAT, check_format
from ferbench.records.history import HISTORY, history_bytes, history_digest
from ferbench.records.in_progress import IN_PROGRESS
from ferbench.records.index import described, keep_index
from ferbench.records.lease import Lease, LeaseLostError, is_held
from ferbench.records.predictions import MAX_PREDICTIONS_BYTES, Predictions
from ferbench.records.schema import MAX_RECORD_BYTES, Fingerprints, Record, parse_json, pretty_json
from ferbench.records.tree import folders_below

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
CHECKPOINT, CHECKPOINT_BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
MODEL = "model.safetensors"
RUNNING = "running.json"
DESCRIBING = (RECORD, RUNNING)
"""The files that say which cell a folder belongs to."""
CANCEL = ".cancel"
LEASE = ".lease"
LEFT_BEHIND = (RUNNING, CHECKPOINT, CHECKPOINT_BEFORE, IN_PROGRESS, f"{LEASE}.")
"""How the names of files begin that a killed process leaves."""
MAX_LISTED = 10
MARKER = "ferbench-runs.json"
"""The file with the format number of a runs folder; records are read whatever it says."""


@dataclass(frozen=True)
class BrokenRecord:
    """Why a record.json cannot be used."""

    reason: str


class RunningMarker(BaseModel):
    """The content of running.json: the process that works on a cell, or worked on it until it was killed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Cell
    pid: int
    host: str
    started_at: str

    @classmethod
    def read(cls, path: Path) -> "RunningMarker":
        """Read a running.json; raises VerificationError or ValidationError if it is not a valid one."""
        return cls.model_validate(parse_json(read_bounded(path, MAX_RECORD_BYTES)))


class RunStore:
    """A folder of records; it is the cache of results and the state from which a sweep resumes."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._leases: dict[Path, Lease] = {}

    def folder(self, cell: Cell) -> Path:
        """The cell's folder, whether it exists or not."""
        return self.root / cell.folder()

    @contextmanager
    def lock(self, cell: Cell, take: Callable[[Lease], object] = Lease.acquire) -> Iterator[Lease]:
        """Hold the cell's folder exclusively; raises LeaseHeldError, which names the holder, in a second process.

        `take` decides how long to wait for the lease. Writes check the lease: a process that has lost it gets a
        LeaseLostError.
        """
        folder = self.folder(cell)
        lease = Lease(folder / LEASE)
        self.check_format()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            take(lease)
        except OSError as error:
            raise unwritable(error, folder) from error
        self._leases[folder] = lease
        try:
            lease.claim(IN_PROGRESS)
            remove_leftovers(folder)
            if not (self.root / MARKER).exists():
                write_atomic(self.root / MARKER, pretty_json({FORMAT: RUNS_FORMAT}))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            marker = RunningMarker(cell=cell, pid=os.getpid(), host=socket.gethostname(), started_at=now)
            # remains after an exception or a kill, so that `status` knows of interrupted cells
            write_atomic(folder / RUNNING, pretty_json(marker.model_dump(mode="json")))
            _keep_index(self.root)
            yield lease
            with suppress(OSError, LeaseLostError):
                lease.check()
                (folder / RUNNING).unlink(missing_ok=True)
        finally:
            del self._leases[folder]
            lease.release()

    def check_format(self) -> None:
        """Raise DataError if the runs folder has another format; a folder without a marker file is accepted."""
        path = self.root / MARKER
        if not path.is_file():
            return
        try:
            found = parse_json(read_bounded(path, MAX_RECORD_BYTES))
        except VerificationError as error:
            raise DataError(f"{path}: {error}; remove it, then run again") from None
        check_format(path, found, RUNS_FORMAT, "name another folder with --runs, or update ferbench")

    def read(self, cell: Cell) -> Record | None:
        """Return the cell's record, or None; raises VerificationError if it is broken or belongs to another cell."""
        path = self.folder(cell) / RECORD
        if not path.exists():
            return None
        record = read_record(path)
        if record.cell_id != cell.cell_id or record.cell != cell:
            raise VerificationError(f"{path} is the record of another cell; move it away, then run again")
        return record

    def is_done(self, cell: Cell, fingerprints: Fingerprints | None = None) -> bool:
        """Whether the cell has a complete result and, if fingerprints are given, on the same data."""
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
        """Write predictions, history and, last, the record; if it has no result, only the record. Returns its path."""
        if record.cell != cell or record.cell_id != cell.cell_id:
            raise ValueError("the record is not that of the cell")
        folder = self.folder(cell)
        check = self._renewed_lease(folder)
        if record.result is None:
            write_together(folder, {RECORD: record.to_json()}, (PREDICTIONS, HISTORY), check)
            _keep_index(self.root)
            return folder / RECORD
        if predictions is None or history is None:
            raise ValueError("a result needs its predictions and its history")
        digests = predictions.digest(), history_digest(history)
        if digests != (record.result.predictions_digest, record.result.history_digest):
            raise ValueError("the digests in the record are not those of the predictions and the history")
        files = {PREDICTIONS: predictions.to_parquet(), HISTORY: history_bytes(history), RECORD: record.to_json()}
        write_together(folder, files, check=check)
        _keep_index(self.root)
        return folder / RECORD

    def _renewed_lease(self, folder: Path) -> Callable[[], object]:
        """Return a check that raises LeaseLostError if this process has lost the folder, for example after a pause."""
        lease = self._leases.get(folder)
        if lease is None:
            return lambda: None
        lease.renew()
        return lease.check

    def clear(self, cell: Cell) -> None:
        """Remove the files that a run no longer needs once its result exists. The caller must hold the lease."""
        folder = self.folder(cell)
        for name in (CHECKPOINT, CHECKPOINT_BEFORE):
            (folder / name).unlink(missing_ok=True)
        for left in folder.glob(f"{IN_PROGRESS}*"):
            shutil.rmtree(left, ignore_errors=True)

    def tidy(self, cell: Cell) -> None:
        """Remove files of a process that was killed after it wrote the result, unless another process works."""
        try:
            names = os.listdir(self.folder(cell))
        except OSError:
            return
        if any(name.startswith(LEFT_BEHIND) for name in names):
            with suppress(FerbenchError), self.lock(cell):
                self.clear(cell)

    def iterate(self) -> Iterator[tuple[Path, Record | BrokenRecord]]:
        """Yield the path of every record.json below the root with the record or its problem, sorted by path.

        A folder that cannot be listed counts as one with a broken record, because it may contain one.
        """
        for path, problem in self._paths(RECORD):
            yield path, BrokenRecord(problem) if problem else read_or_broken(path)

    def folders(self) -> list[str]:
        """The folders below the root in which cells were started, sorted. No file is read."""
        return sorted(described(self.root, DESCRIBING))

    def begun(self) -> Iterator[tuple[Path, RunningMarker, bool]]:
        """Yield every cell that was started and has not ended: its folder, and whether its process holds the lease."""
        for path, _ in self._paths(RUNNING):
            with suppress(VerificationError, ValidationError):
                yield path.parent, RunningMarker.read(path), is_held(path.with_name(LEASE))

    def is_cancelled(self, cell: Cell) -> bool:
        """Whether `ask_to_stop` was called and not withdrawn by `allow`. False if the folder cannot be looked into."""
        return os.path.exists(self.folder(cell) / CANCEL)

    def allow(self, cell: Cell) -> None:
        """Withdraw the request of `ask_to_stop`."""
        with suppress(OSError):
            (self.folder(cell) / CANCEL).unlink(missing_ok=True)

    def _paths(self, name: str) -> list[tuple[Path, str]]:
        """Return the sorted paths with this name, each with an empty text or the reason why its folder is unreadable.

        Linked folders are not entered. Linked files are listed; reading them raises an error.
        """
        found: list[tuple[Path, str]] = []
        for folder, entries in folders_below(self.root):
            if isinstance(entries, (FileNotFoundError, NotADirectoryError)):
                continue
            if isinstance(entries, OSError):
                problem = f"its folder cannot be listed ({entries.strerror or entries})"
                found.append((self.root / folder / name, problem))
            elif name in entries:
                found.append((self.root / folder / name, ""))
        return sorted(found, key=lambda place: place[0].relative_to(self.root).parts)


def ask_to_stop(folder: Path) -> None:
    """Ask the process that runs the cell of a folder, now or later and on any machine, to save its state and stop."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CANCEL).touch()
    except OSError as error:
        raise unwritable(error, folder) from error


def _content(path: Path) -> Record | Cell | str:
    """What INDEX.md says about a cell's file."""
    try:
        return read_record(path) if path.name == RECORD else RunningMarker.read(path).cell
    except (VerificationError, ValidationError) as error:
        return f"broken: {error}"


_keep_index = partial(keep_index, names=DESCRIBING, content=_content)


def find_record(run: Path) -> Path:
    """Return the record.json that a path means: the file itself, the one in the folder, or the only one below it.

    Raises UsageError if there is none, or more than one.
    """
    if run.is_file():
        return run
    if (run / RECORD).is_file():
        return run / RECORD
    found = [path for path, _ in islice(RunStore(run).iterate(), MAX_LISTED + 1)]
    if not found:
        raise UsageError(f"{run}: no {RECORD} in this folder or below; name the folder of a finished run")
    if len(found) > 1:
        lines = [str(path.parent) for path in found[:MAX_LISTED]] + ["and more"] * (len(found) > MAX_LISTED)
        raise UsageError(f"{run}: contains several runs; name one of them:{listed(lines)}")
    return found[0]


def is_model(path: Path, digest: str) -> bool:
    """Whether the file exists and has this SHA-256, as recorded in a record."""
    return path.is_file() and file_digest(path) == digest


def read_record(path: Path) -> Record:
    """Read an untrusted record.json; raises VerificationError for every defect."""
    return Record.from_json(read_bounded(path, MAX_RECORD_BYTES))


def read_named(path: Path) -> Record:
    """Read a record.json that a person has named, as `find_record` finds it. Errors name the file."""
    try:
        return read_record(path)
    except VerificationError as error:
        remedy = "" if path.name == RECORD else f"; name a run, which has a file {RECORD}"
        raise VerificationError(f"{path}: {error}{remedy}") from None


def read_or_broken(path: Path) -> Record | BrokenRecord:
    """Read an untrusted record.json, or return what is wrong with it."""
    try:
        return read_record(path)
    except VerificationError as error:
        return BrokenRecord(str(error))


def read_predictions(path: Path) -> Predictions:
    """Read an untrusted predictions.parquet; raises VerificationError for every defect."""
    return Predictions.from_parquet(read_bounded(path, MAX_PREDICTIONS_BYTES))
