"""Check that records agree with each other: rows, equal splits, copies, and baselines that must stay."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ferbench.records.cell import digest
from ferbench.records.checks import Protocols, RecordCheck
from ferbench.records.files import read_bounded
from ferbench.records.known import NOTHING, Known, split_key
from ferbench.records.options_v1 import config_of_today
from ferbench.records.publication import PUBLISHED, is_published
from ferbench.records.rows import BASELINES, PROBE
from ferbench.records.schema import MAX_RECORD_BYTES, Record, Result
from ferbench.records.sketch import EQUAL, NEARLY, likeness
from ferbench.records.split_checks import SPLIT, Recompute
from ferbench.records.store import PREDICTIONS, RECORD, RunStore
from ferbench.records.verification import Verification, verify_record

SHOWN = 3
"""At most this many other records are named in a message."""
OTHER_LABELS = ("data", "labeled", "validation", "label_noise", "relabeled", "boxes")


@dataclass(frozen=True)
class Board:
    """The facts of a board that its records are checked against; empty for a folder of runs.

    `baselines` maps the folder of each earlier record of a supervised row to its SHA-256. `published` says whether
    others can read the records, so that they must not contain labels of licensed datasets.
    """

    baselines: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    published: bool = False


RUNS = Board()

Inputs = Mapping[Path, str]
"""`training_input` of each record."""


def verify_all(
    paths: Iterable[Path],
    protocols: Protocols,
    recompute: Recompute | None = None,
    known: Known = NOTHING,
    board: Board = RUNS,
) -> list[Verification]:
    """Check each record by itself, then all records against each other; a missing baseline fails.

    `paths` are record files and folders that contain them. Baselines are expected below the first path.
    """
    roots = list(paths)
    found = [verify_record(path, protocols, recompute, known) for path in record_files(roots)]
    added: dict[Path, list[RecordCheck]] = defaultdict(list)
    results = [each for each in found if each.record is not None and each.record.result is not None]
    inputs = {each.path: training_input(_record(each)) for each in results}
    rules: Sequence[Iterator[tuple[Verification, RecordCheck]]] = (
        _twins(found),
        _rows(results, protocols),
        _splits(results),
        _copies(results, inputs, board),
        _likenesses(results, inputs, board),
        _licences(results, known, board),
        _changed_baselines(found, board),
    )
    for rule in rules:
        for verification, check in rule:
            added[verification.path].append(check)
    whole = [replace(each, checks=(*each.checks, *added[each.path])) for each in found]
    return whole + [each for root in roots[:1] for each in _missing_baselines(root, found, board)]


def record_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield each path that is a file, and every record.json below each path that is a folder; each file only once."""
    seen: set[str] = set()
    for path in paths:
        for record in [path] if path.is_file() else (record for record, _ in RunStore(path).iterate()):
            if (file := os.path.realpath(record)) not in seen:
                seen.add(file)
                yield record


def _record(each: Verification) -> Record:
    assert each.record is not None  # only readable records are compared
    return each.record


def _result(each: Verification) -> Result:
    result = _record(each).result
    assert result is not None  # only records with a result are compared
    return result


def _grouped(
    found: Iterable[Verification], key: Callable[[Verification], Hashable | None]
) -> Iterator[list[Verification]]:
    groups: dict[Hashable, list[Verification]] = defaultdict(list)
    for each in found:
        if (value := key(each)) is not None:
            groups[value].append(each)
    return (group for group in groups.values() if len(group) > 1)


def _others(each: Verification, group: Sequence[Verification]) -> str:
    names = [str(other.path.parent) for other in group if other is not each]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _twins(found: Sequence[Verification]) -> Iterator[tuple[Verification, RecordCheck]]:
    """Two records of the same cell both fail: nothing says which of them counts."""
    whole = [each for each in found if each.record is not None]
    for group in _grouped(whole, lambda each: _record(each).cell_id):
        for each in group:
            yield each, RecordCheck("twin", "failed", f"the same cell as {_others(each, group)}")


def _rows(results: Sequence[Verification], protocols: Protocols) -> Iterator[tuple[Verification, RecordCheck]]:
    """The seeds of a row must agree in engine version, selection and model size; missing seeds are noted."""
    rows: dict[str, list[Verification]] = defaultdict(list)
    for each in results:
        rows[str(_record(each).cell.folder().parent)].append(each)
    for row in rows.values():
        for name, values in (
            ("engine version", {str(_record(each).engine_version) for each in row}),
            ("selection", {_record(each).selection for each in row}),
            ("number of parameters", {str(_result(each).parameters) for each in row}),
        ):
            if len(values) > 1:
                problem = f"its seeds have more than one {name}: {', '.join(sorted(values))}"
                yield from ((each, RecordCheck("row", "failed", problem)) for each in row)
        cell = _record(row[0]).cell
        protocol, seeds = protocols.get(cell.protocol), {_record(each).cell.seed for each in row}
        if protocol is not None and (missing := sorted(set(protocol.seeds) - seeds)):
            text = f"missing {'seed' if len(missing) == 1 else 'seeds'} of the protocol: {_numbers(missing)}"
            yield from ((each, RecordCheck("seeds", "noted", text)) for each in row)


def _numbers(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _splits(results: Sequence[Verification]) -> Iterator[tuple[Verification, RecordCheck]]:
    """Cells with the same split of the same data must have equal images and counts, whatever their method.

    If the splits of some records are verified, only the others fail; otherwise all of them fail.
    """

    def rows(each: Verification) -> Hashable:
        cell, prints = _record(each).cell, _result(each).fingerprints
        size = digest(cell.overrides.protocol) if cell.pool or cell.test_on else ""
        return split_key(cell), prints.data, prints.pool, prints.test_data, size

    def images(each: Verification) -> str:
        result = _result(each)
        kept = ("labeled", "unlabeled", "validation", "test", "folds", "label_noise")
        counts = [result.n_labeled, result.n_validation, result.n_test, result.n_near_duplicates, result.labeled_counts]
        return digest([counts, [getattr(result.fingerprints, name) for name in kept]])

    for group in _grouped(results, rows):
        if len({images(each) for each in group}) == 1:
            continue
        verified = {each.path for each in group if any(c.name == SPLIT and c.state == "verified" for c in each.checks)}
        for each in group:
            if each.path not in verified:
                text = f"labeled, unlabeled or test images differ from those of {_others(each, group)}"
                yield each, RecordCheck("equal splits", "failed", text)


def training_input(record: Record) -> str:
    """Return a digest of everything that determines the trained model, and of nothing else.

    It leaves out the protocol's name, and the unlabeled images if the method uses none: cells that differ only in
    these have equal models.
    """
    assert record.result is not None
    cell, config, result = record.cell.base, config_of_today(record), record.result
    recipe = {name: value for name, value in config.protocol.items() if name not in ("name", "draft", "pool_order")}
    prints = result.fingerprints.by_name()
    parts = OTHER_LABELS if result.n_unlabeled is None else (*OTHER_LABELS, "unlabeled", "pool")
    data = {name: prints.get(name) for name in parts}
    names = [cell.classes, cell.method, cell.head, cell.backbone, cell.init, cell.precision, cell.seed]
    return digest([names, recipe, config.method, config.head, data])


def _copies(
    results: Sequence[Verification], inputs: Inputs, board: Board
) -> Iterator[tuple[Verification, RecordCheck]]:
    """Runs with different images, methods or seeds must not have the same model or the same history."""
    for what, of in (
        ("model", lambda each: _result(each).model_digest),
        ("history", lambda each: None if _record(each).cell.test_on else _result(each).history_digest),
    ):
        for group in _grouped(results, of):
            yield from _copied(f"its {what} is", group, inputs, board)


def _copied(
    what: str, group: Sequence[Verification], inputs: Inputs, board: Board, state: str = "failed"
) -> Iterator[tuple[Verification, RecordCheck]]:
    """Yield a check for each record of a group that should not be alike, except for pinned baselines.

    Nonstandard records are only noted: an override that has no effect is not a fault.
    """
    if len({inputs[each.path] for each in group}) == 1:
        return
    standard = [each for each in group if _record(each).standard]
    suspicious = state == "failed" and len({inputs[each.path] for each in standard}) > 1
    for each in group:
        if _is_pinned(each, board):
            continue
        others = [other for other in group if inputs[other.path] != inputs[each.path]]
        failed = suspicious and _record(each).standard
        yield each, RecordCheck("copy", "failed" if failed else "noted", f"{what} that of {_others(each, others)}")


def _likenesses(
    results: Sequence[Verification], inputs: Inputs, board: Board
) -> Iterator[tuple[Verification, RecordCheck]]:
    """Find records whose logits come from the same model, whatever the order of the rows and the scale."""

    def images(each: Verification) -> Hashable | None:
        result = _result(each)
        if each.sketch is None:
            return None
        salted = is_published(each.path.parent)  # its ids are salted, so the rows cannot be aligned
        return None if salted else (result.fingerprints.data, result.fingerprints.test, len(result.class_names))

    for group in _grouped(results, images):
        alike = likeness([each.sketch for each in group if each.sketch is not None])
        for state, low, high, what in (
            ("failed", EQUAL, np.inf, "its logits are"),
            ("noted", NEARLY, EQUAL, "its logits are nearly"),
        ):
            for row, each in enumerate(group):
                near = np.flatnonzero((alike[row] > low) & (alike[row] <= high))
                pair = [group[place] for place in near.tolist() if group[place] is not each]
                if pair:
                    found = _copied(what, [each, *pair], inputs, board, state)
                    yield from ((other, check) for other, check in found if other is each)


def _licences(
    results: Sequence[Verification], known: Known, board: Board
) -> Iterator[tuple[Verification, RecordCheck]]:
    """Published records must not contain labels of a dataset whose labels may not be redistributed."""
    for each in results if board.published else ():
        cell = _record(each).cell
        dataset = known.dataset(cell.test_on or cell.dataset)
        if dataset and not dataset.publishes_labels and (each.path.parent / PREDICTIONS).exists():
            text = f"{PREDICTIONS} contains labels of a licensed dataset; publish {PUBLISHED} instead"
            yield each, RecordCheck("licence", "failed", text)


def is_baseline(record: Record) -> bool:
    """Whether the record belongs to a baseline row, whose seeds must stay because gains are measured against it."""
    cell = record.cell
    return record.standard and record.result is not None and cell.row in (*BASELINES, PROBE)


def baseline_digests(found: Iterable[Verification]) -> dict[str, str]:
    """Map the cell folder of every valid record of a supervised row to the SHA-256 of the record."""
    return {
        str(each.record.cell.folder()): _digest_of(each.path)
        for each in found
        if each.record is not None and each.holds and is_baseline(each.record)
    }


def _digest_of(path: Path) -> str:
    return hashlib.sha256(read_bounded(path, MAX_RECORD_BYTES)).hexdigest()


def _is_pinned(each: Verification, board: Board) -> bool:
    pinned = board.baselines.get(str(_record(each).cell.folder()))
    return pinned is not None and pinned == _digest_of(each.path)


def _changed_baselines(found: Sequence[Verification], board: Board) -> Iterator[tuple[Verification, RecordCheck]]:
    """A pinned record must stay as it is. One without a result fails too: it would take a seed out of the row."""
    for each in found:
        if each.record is None:  # its folder counts as missing
            continue
        if str(each.record.cell.folder()) in board.baselines and not _is_pinned(each, board):
            text = "it differs from the pinned record of this supervised row; if that is intended, remove its line"
            yield each, RecordCheck("baseline", "failed", text)


def _missing_baselines(root: Path, found: Sequence[Verification], board: Board) -> Iterator[Verification]:
    there = {str(each.record.cell.folder()) for each in found if each.record is not None}
    for folder in sorted(board.baselines.keys() - there):
        text = (
            "the record of a seed of this supervised row is gone; put it back, or remove its line if that is intended"
        )
        yield Verification(root / folder / RECORD, None, (RecordCheck("baseline", "failed", text),))
