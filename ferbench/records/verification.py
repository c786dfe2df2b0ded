"""Whether a record holds: recomputed from the files beside it, without a GPU and without any method's code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ferbench.errors import VerificationError
from ferbench.records.cell import Cell
from ferbench.records.checks import Protocols, RecordCheck, check_record, passed
from ferbench.records.consistency import history_problems
from ferbench.records.history import HISTORY, history_digest, read_history
from ferbench.records.known import NOTHING, Known
from ferbench.records.options_v1 import option_problems
from ferbench.records.schema import Record, Result
from ferbench.records.score_checks import score_checks
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
"""How far a record can be believed by itself.

`submitted` has no result, or is of a protocol that is not known here, so that nothing says what should hold.
"""
PROTOCOL = "protocol"


@dataclass(frozen=True)
class Verdict:
    """What came out for one record, for whoever does not look at single checks."""

    level: Level
    failures: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """What was checked of one record.json, and what came out. `sketch` is of its logits, where they can be read."""

    path: Path
    record: Record | None
    checks: tuple[RecordCheck, ...]
    sketch: Sketch | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing that could be checked failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[RecordCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.state == "failed")

    @property
    def unchecked(self) -> tuple[RecordCheck, ...]:
        """What could not be checked, with the reason."""
        return tuple(check for check in self.checks if check.state == "unchecked")

    @property
    def noted(self) -> tuple[RecordCheck, ...]:
        """What holds, and a reader should know."""
        return tuple(check for check in self.checks if check.state == "noted")

    @property
    def verdict(self) -> Verdict:
        """The level, and why."""
        notes = (*self.noted, *self.unchecked)
        return Verdict(self._level, _lines(self.failures), _lines(notes))

    @property
    def _level(self) -> Level:
        if not self.holds:
            return "inconsistent"
        if self.record is None or self.record.result is None or any(each.name == PROTOCOL for each in self.unchecked):
            return "submitted"
        if any(each.name.startswith(SPLIT) for each in self.unchecked):
            return "consistent (data not held)"
        return "consistent"


def _lines(checks: Sequence[RecordCheck]) -> tuple[str, ...]:
    return tuple(f"{check.name}: {check.detail}" for check in checks)


def verify_record(
    path: Path, protocols: Protocols, recompute: Recompute | None = None, known: Known = NOTHING
) -> Verification:
    """Check one record.json by the rules of its protocol.

    `recompute` gives fingerprints where the data is at hand, `known` what names stand for and what is pinned of data.
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
        checks.append(RecordCheck(PROTOCOL, "unchecked", f"nothing here knows the rules of '{record.cell.protocol}'"))
    pinned = pinned_split(record.cell, known)
    recomputed = None
    if recompute is not None and not is_pinned_whole(pinned, result.fingerprints):
        recomputed = recompute(record.cell, result.fingerprints)
    sketch = None
    if not any(check.name == "counts" and check.state == "failed" for check in checks):
        found, logits = score_checks(path.parent, result, recomputed.tests if recomputed else ())
        sketch = None if logits is None else sketch_of(logits.ids, logits.logits)
        checks += found
    checks.append(_history(path.parent / HISTORY, record, result))
    checks += split_checks(result, pinned, recomputed)
    if record.cell.test_on is not None and folder.state == "verified":
        checks.append(_model(path, record.cell, result))
    return Verification(path, record, tuple(checks), sketch)


def _folder(path: Path, cell: Cell) -> RecordCheck:
    expected = cell.folder()
    if path.absolute().parent.parts[-len(expected.parts) :] == expected.parts:
        return RecordCheck("folder", "verified")
    return RecordCheck("folder", "failed", f"the cell belongs in {expected}")


def _history(path: Path, record: Record, result: Result) -> RecordCheck:
    try:
        rows = read_history(path)
    except VerificationError as error:
        return RecordCheck("history", "failed", str(error))
    if history_digest(rows) != result.history_digest:
        return RecordCheck("history", "failed", "its digest is not the recorded one")
    return passed("history", history_problems(record, result, rows))


def _model(path: Path, cell: Cell, result: Result) -> RecordCheck:
    """Whether the model that is tested on another set is that of the base cell, where its record is in this tree."""
    root = path.absolute().parent.parents[len(cell.folder().parts) - 1]
    try:
        base = read_record(root / cell.base.folder() / RECORD)
    except VerificationError:
        return RecordCheck("model", "unchecked", f"there is no record in {cell.base.folder()}, whose model it is")
    same = base.cell == cell.base and base.result is not None and base.result.model_digest == result.model_digest
    return passed("model", [] if same else [f"it is not that of {cell.base.folder()}; run the cell again"])


@dataclass(frozen=True)
class Collected:
    """The records that may enter a table by their paths, and why the others may not."""

    records: Mapping[Path, Record]
    problems: Mapping[Path, str]


def collect(root: Path, protocols: Protocols) -> Collected:
    """Read a record or every record below a folder. One that contradicts itself or another is left out.

    Files beside records are not looked at: `agreement.verify_all` does that.
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
            if other != path:  # nothing says which of the two counts
                problems |= {path: f"the same cell as {other}", other: f"the same cell as {path}"}
    return Collected({path: record for path, record in records.items() if path not in problems}, problems)
