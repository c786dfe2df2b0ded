"""Whether a record holds: recomputed from the files beside it, without a GPU and without any method's code."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ferbench.errors import VerificationError
from ferbench.records.cell import Cell
from ferbench.records.checks import Protocols, RecordCheck, check_record, differences, passed
from ferbench.records.consistency import history_problems
from ferbench.records.history import HISTORY, history_digest, read_history
from ferbench.records.metrics import outcome_of
from ferbench.records.options_v1 import option_problems
from ferbench.records.predictions import Predictions, labeled_fingerprint
from ferbench.records.schema import Fingerprints, Record, Result
from ferbench.records.store import (
    PREDICTIONS,
    RECORD,
    BrokenRecord,
    RunStore,
    read_or_broken,
    read_predictions,
    read_record,
)


@dataclass(frozen=True)
class Recomputed:
    """The fingerprints of a cell as the data at hand gives them, and which could not be recomputed, and why."""

    values: Mapping[str, str]
    unchecked: Mapping[str, str]


Recompute = Callable[[Cell, Fingerprints], Recomputed]


@dataclass(frozen=True)
class Verification:
    """What was checked of one record.json, and what came out."""

    path: Path
    record: Record | None
    checks: tuple[RecordCheck, ...]

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


def verify_record(path: Path, protocols: Protocols, recompute: Recompute | None = None) -> Verification:
    """Check one record.json by the rules of its protocol; `recompute` gives fingerprints where the data is at hand."""
    try:
        record = read_record(path)
    except VerificationError as error:
        return Verification(path, None, (RecordCheck("schema", "failed", str(error)),))
    folder = _folder(path, record.cell)
    options = option_problems(record.cell.method, record.config.method, record.cell.overrides.method)
    checks = [RecordCheck("schema", "verified"), *check_record(record, protocols), folder, passed("options", options)]
    if record.result is not None:
        consistent = not any(check.name == "counts" and check.state == "failed" for check in checks)
        if consistent:
            checks += _predictions(path.parent / PREDICTIONS, record.result)
        checks.append(_history(path.parent / HISTORY, record, record.result))
        checks += _fingerprints(record.cell, record.result.fingerprints, recompute)
        if record.cell.test_on is not None and folder.state == "verified":
            checks.append(_model(path, record.cell, record.result))
    return Verification(path, record, tuple(checks))


def _folder(path: Path, cell: Cell) -> RecordCheck:
    expected = cell.folder()
    if path.absolute().parent.parts[-len(expected.parts) :] == expected.parts:
        return RecordCheck("folder", "verified")
    return RecordCheck("folder", "failed", f"the cell belongs in {expected}")


def _predictions(path: Path, result: Result) -> Iterator[RecordCheck]:
    try:
        predictions = read_predictions(path)
    except VerificationError as error:
        yield RecordCheck("predictions", "failed", str(error))
        return
    yield passed("predictions", _prediction_problems(predictions, result))
    try:
        outcome = outcome_of(predictions.logits, predictions.labels, len(result.class_names))
    except ValueError as error:
        yield RecordCheck("recomputed metrics", "failed", str(error))
        return
    problems = differences(result, outcome, source="the predictions file")
    if outcome.confusion.tolist() != result.confusion:
        problems.append("the confusion matrix is not that of the predictions file")
    yield passed("recomputed metrics", problems)
    names = [result.class_names[label] for label in predictions.labels]
    tied = result.fingerprints.test == labeled_fingerprint(predictions.ids, names)
    yield passed("test labels", [] if tied else ["ids and labels of the predictions are not those of the test split"])


def _prediction_problems(predictions: Predictions, result: Result) -> list[str]:
    problems = []
    if predictions.digest() != result.predictions_digest:
        problems.append("their digest is not the recorded one")
    if len(predictions.ids) != result.n_test:
        problems.append(f"{len(predictions.ids)} rows, not n_test = {result.n_test}")
    if len(set(predictions.ids)) != len(predictions.ids):
        problems.append("a test image occurs twice")
    return problems


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


def _fingerprints(cell: Cell, recorded: Fingerprints, recompute: Recompute | None) -> Iterator[RecordCheck]:
    """Every fingerprint of the record is recomputed, or named as one that could not be."""
    if recompute is None:
        yield RecordCheck("split", "unchecked", "nothing is recomputed from data here")
        return
    found, names = recompute(cell, recorded), recorded.by_name()
    wrong = [
        f"{name} is not that of the data on this machine"
        for name in sorted(names.keys() | found.values.keys() - found.unchecked.keys())
        if name not in found.unchecked and names.get(name) != found.values.get(name)
    ]
    if wrong or len(found.unchecked) < len(names):
        yield passed("split", wrong)
    for reason in dict.fromkeys(found.unchecked.values()):
        unchecked = [name for name, why in found.unchecked.items() if why == reason]
        whole = "split" if len(unchecked) == len(names) else f"split: {', '.join(unchecked)}"
        yield RecordCheck(whole, "unchecked", reason)


@dataclass(frozen=True)
class Collected:
    """The records that may enter a table by their paths, and why the others may not."""

    records: Mapping[Path, Record]
    problems: Mapping[Path, str]


def collect(root: Path, protocols: Protocols) -> Collected:
    """Read a record or every record below a folder. One that contradicts itself or another is left out."""
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
