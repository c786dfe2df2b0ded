"""Verify a record: recompute its numbers from the files next to it, without a GPU and without a method's code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ferbench.errors import VerificationError
from ferbench.records.cell import Cell
from ferbench.records.checks import INSTALL, Protocols, RecordCheck, check_record, passed
from ferbench.records.consistency import history_problems
from ferbench.records.history import HISTORY, history_digest, read_history
from ferbench.records.known import NOTHING, Known
from ferbench.records.options_v1 import option_problems
from ferbench.records.publication import is_published
from ferbench.records.schema import Record, Result
from ferbench.records.score_checks import SCORES, score_checks
from ferbench.records.sketch import Sketch, sketch_of
from ferbench.records.split_checks import SPLIT, Recompute, is_pinned_whole, pinned_split, split_checks
from ferbench.records.store import (
    RECORD,
    BrokenRecord,
    RunStore,
    read_or_broken,
    read_record,
)

Level = Literal["inconsistent", "submitted", "consistent (data not held)", "consistent"]
"""How far a record can be trusted by itself.

`submitted`: it has no result, or its protocol is unknown here, so that its rules cannot be checked.
"""
PROTOCOL = "protocol"


@dataclass(frozen=True)
class Verdict:
    """The summary of all checks of one record."""

    level: Level
    failures: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """The checks of one record.json. `sketch` is that of its logits; None if they cannot be read."""

    path: Path
    record: Record | None
    checks: tuple[RecordCheck, ...]
    sketch: Sketch | None = None

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[RecordCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.state == "failed")

    @property
    def unchecked(self) -> tuple[RecordCheck, ...]:
        """The checks that could not be made, with the reason."""
        return tuple(check for check in self.checks if check.state == "unchecked")

    @property
    def noted(self) -> tuple[RecordCheck, ...]:
        """The checks that did not fail, but whose finding a reader should know."""
        return tuple(check for check in self.checks if check.state == "noted")

    @property
    def verdict(self) -> Verdict:
        """The level with its reasons."""
        notes = (*self.noted, *self.unchecked)
        return Verdict(self._level, _lines(self.failures), _lines(notes))

    @property
    def _level(self) -> Level:
        if not self.holds:
            return "inconsistent"
        if self.record is None or self.record.result is None or any(each.name == PROTOCOL for each in self.unchecked):
            return "submitted"
        # pinned values say which images are tested, but not their labels, so they do not replace the data
        if any(each.name.startswith(SPLIT) or each.name == SCORES for each in self.unchecked):
            return "consistent (data not held)"
        return "consistent"


def _lines(checks: Sequence[RecordCheck]) -> tuple[str, ...]:
    return tuple(f"{check.name}: {check.detail}" for check in checks)


def verify_record(
    path: Path, protocols: Protocols, recompute: Recompute | None = None, known: Known = NOTHING
) -> Verification:
    """Check one record.json against the rules of its protocol.

    `recompute` recomputes fingerprints from the data on this machine. `known` looks up datasets, tunings and pins.
    """
    try:
        record = read_record(path)
    except VerificationError as error:
        return Verification(path, None, (RecordCheck("schema", "failed", str(error)),))
    folder = _folder(path, record.cell)
    options = option_problems(record.cell.method, record.config.method, record.cell.overrides.method)
    checks = [
        RecordCheck("schema", "verified"),
        *check_record(record, protocols, known),
        folder,
        passed("options", options),
    ]
    if (result := record.result) is None:
        return Verification(path, record, tuple(checks))
    if record.cell.protocol not in protocols:
        reason = f"the rules of '{record.cell.protocol}' are not known here"
        checks.append(RecordCheck(PROTOCOL, "unchecked", reason, INSTALL))
    pinned = pinned_split(record.cell, known)
    whole, recomputed = is_pinned_whole(pinned, result.fingerprints), None
    if recompute is not None and (not whole or is_published(path.parent)):
        recomputed = recompute(record.cell, result.fingerprints)
    sketch = None
    if not any(check.name == "counts" and check.state == "failed" for check in checks):
        found, logits = score_checks(path.parent, result, recomputed)
        sketch = None if logits is None else sketch_of(logits.ids, logits.logits)
        checks += found
    checks.append(_history(path.parent / HISTORY, record, result))
    checks += split_checks(result, pinned, None if whole else recomputed)
    if record.cell.test_on is not None and folder.state == "verified":
        checks.append(_model(path, record.cell, result))
    return Verification(path, record, tuple(checks), sketch)


def _folder(path: Path, cell: Cell) -> RecordCheck:
    expected = cell.folder()
    if path.absolute().parent.parts[-len(expected.parts) :] == expected.parts:
        return RecordCheck("folder", "verified")
    return RecordCheck("folder", "failed", f"the files of this cell must be in {expected}")


def _history(path: Path, record: Record, result: Result) -> RecordCheck:
    try:
        rows = read_history(path)
    except VerificationError as error:
        return RecordCheck("history", "failed", str(error))
    if history_digest(rows) != result.history_digest:
        return RecordCheck("history", "failed", "its digest differs from the recorded one")
    return passed("history", history_problems(record, result, rows))


def _model(path: Path, cell: Cell, result: Result) -> RecordCheck:
    """Check that the model tested on another dataset is that of the base cell, if its record is in this tree."""
    root = path.absolute().parent.parents[len(cell.folder().parts) - 1]
    try:
        base = read_record(root / cell.base.folder() / RECORD)
    except VerificationError:
        missing = f"the record of its training, {cell.base.folder()}, is not here"
        return RecordCheck("model", "unchecked", missing, f"copy it to its place in {root}, and verify again")
    same = base.cell == cell.base and base.result is not None and base.result.model_digest == result.model_digest
    return passed("model", [] if same else [f"it is not the model of {cell.base.folder()}; run the cell again"])


@dataclass(frozen=True)
class Collected:
    """The records that may enter a table, by path, and the problems of the others."""

    records: Mapping[Path, Record]
    problems: Mapping[Path, str]


def collect(root: Path, protocols: Protocols) -> Collected:
    """Read one record, or every record below a folder; those that contradict themselves or another are left out.

    Files next to records are not checked; `agreement.verify_all` does that.
    """
    records: dict[Path, Record] = {}
    problems: dict[Path, str] = {}
    first: dict[str, Path] = {}
    below = [(root, read_or_broken(root))] if root.is_file() else RunStore(root).iterate()
    for path, found in below:
        if isinstance(found, BrokenRecord):
            problems[path] = found.reason
        elif failed := [check for check in check_record(found, protocols) if check.state == "failed"]:
            problems[path] = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        else:
            records[path] = found
            other = first.setdefault(found.cell_id, path)
            if other != path:  # nothing tells which of the two counts
                problems |= {path: f"the same cell as {other}", other: f"the same cell as {path}"}
    return Collected({path: record for path, record in records.items() if path not in problems}, problems)
