"""Check what must hold inside one record, without the files next to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ferbench.contract.executor import INLINE
from ferbench.contract.protocol import EPOCHS, EVALUATION_TERMS, LABEL_TERMS, Protocol, Recipe
from ferbench.records.cell import Cell
from ferbench.records.consistency import budget_problems, cost_problems, recipe_problems
from ferbench.records.known import NOTHING, Known
from ferbench.records.metrics import HEADLINES, METRICS, Outcome, recalls
from ferbench.records.schema import Record, Result

INSTALL = "install the plugin that registers the protocol, and verify again"
RUN_AGAIN = "`ferbench reproduce RECORD --run` computes it anew"
State = Literal["verified", "failed", "unchecked", "noted"]
"""`noted`: the check does not fail, but a reader should know what it found."""
Protocols = Mapping[str, Protocol]
"""The protocols whose rules records are checked against: the built-in ones, which need no plugin code."""

# Sums of a few thousand float64 values differ in their last bits between machines, by far less than this.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class RecordCheck:
    """The result of one check; `detail` says what was found or why it could not be checked.

    `remedy` says how to make the check possible, if `detail` does not.
    """

    name: str
    state: State
    detail: str = ""
    remedy: str = ""


def passed(name: str, problems: list[str]) -> RecordCheck:
    """Return a check that is `verified` if there are no problems, else `failed` with all of them."""
    return RecordCheck(name, "failed", "; ".join(problems)) if problems else RecordCheck(name, "verified")


def check_record(record: Record, protocols: Protocols, known: Known = NOTHING) -> Iterator[RecordCheck]:
    """Check the identity of a record, and every number that follows from other numbers in it."""
    recorded, computed = record.cell_id, record.cell.cell_id
    same = [] if recorded == computed else [f"it is recorded as {recorded[:12]}…, but the cell gives {computed[:12]}…"]
    yield passed("cell id", same)
    yield _standard(record, protocols)
    if record.tunings:
        yield _tunings(record, known)
    if record.result is None:
        return
    protocol, dataset = protocols.get(record.cell.protocol), known.dataset(record.cell.dataset)
    if protocol is not None:
        problems = recipe_problems(record, protocol, dataset.family if dataset else None)
        if problems and record.config.protocol.get("draft"):  # a draft may have changed since
            yield RecordCheck("recipe", "noted", f"run under a draft, which has changed since: {'; '.join(problems)}")
        else:
            yield passed("recipe", problems)
    if dataset is not None and record.cell.test_on is None:
        yield passed("classes", _class_problems(record.result, dataset.classes.get(record.cell.classes)))
    yield passed("budget", budget_problems(record, record.result, protocol))
    yield passed("costs", cost_problems(record, record.result))
    shape = passed("counts", _count_problems(record.result, record.cell))
    yield shape
    if shape.state == "failed":  # the other checks need a square matrix
        return
    outcome = Outcome(np.array(record.result.confusion, dtype=np.int64))
    yield passed("metrics", differences(record.result, outcome, source="the confusion matrix"))
    yield _oracle(record.result, record)


def differences(result: Result, outcome: Outcome, source: str) -> list[str]:
    """Return a line with both values for each recorded metric that differs from the one computed from its source.

    A metric that is newer than the record is not compared, nor is one that needs logits if there are none.
    """
    recorded = result.metrics
    pairs: list[tuple[str, float | None, float | None]] = [
        (metric.key, was, computed)
        for metric in METRICS
        if (was := getattr(recorded, metric.key)) is not None and (computed := metric.of(outcome)) is not None
    ]
    pairs += [
        (f"recall of {name}", recorded.per_class_recall.get(name), value)
        for name, value in recalls(outcome, result.class_names).items()
    ]
    return [
        f"{name} is recorded as {_number(was)}, but {source} gives {_number(is_)}"
        for name, was, is_ in pairs
        if not _same(was, is_)
    ]


def _tunings(record: Record, known: Known) -> RecordCheck:
    """Compare each tuning with that of the installed owner; if its code is another one, a difference is only noted."""
    problems, stamps, others = _tuning_problems(record), {**record.plugins, "method": record.plugin}, []
    for role, tuning in record.tunings.items():
        found = known.tuning(record.cell, role)
        if problems or found is None or found.says(tuning):
            continue
        if found.source_hash == stamps[role].source_hash:
            problems.append(f"{found.distribution}, with the code that the record ran, tunes the {role} differently")
        else:
            others.append(f"the installed {found.distribution} tunes the {role} differently")
    if others and not problems:
        return RecordCheck("tunings", "noted", "; ".join(others))
    return passed("tunings", problems)


def _class_problems(result: Result, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return ["the dataset does not have this class set"]
    return [] if list(names) == result.class_names else [f"they must be {', '.join(names)}, in this order"]


def _tuning_problems(record: Record) -> list[str]:
    """Only the owner of a part may tune its options; the number of trials is its own claim."""
    stamps = {**record.plugins, "method": record.plugin}
    owners = {role: stamps[role].distribution if role in stamps else "nobody" for role in record.tunings}
    return [
        f"the {role} is tuned by {tuning.distribution}, but belongs to {owners[role]}"
        for role, tuning in record.tunings.items()
        if owners[role] != tuning.distribution
    ]


def departures(cell: Cell, protocol: Protocol, *, relabels: bool, selection: str, optimizers: list[str]) -> list[str]:
    """Return the reasons why a cell does not belong in a standard table; empty if it does.

    A method that `relabels` has seen more labels than the budget allows. `selection` names the model that it
    evaluates. `optimizers` are the lines of `unsourced`.
    """
    budget, found = cell.budget, []
    if protocol.draft:
        found.append(f"'{protocol.name}' is a draft")
    if cell.changes:
        found.append(f"overrides {cell.changes}")
    listed = (
        budget.ratio in protocol.ratios or budget.count in protocol.counts or budget.per_class in protocol.per_class
    )
    if not listed or not (budget.per_class is not None or budget.allocation in protocol.allocations):
        found.append(f"{budget.title()}: not a budget of '{protocol.name}', which has {_budgets(protocol)}")
    if cell.seed not in protocol.seeds:
        seeds = ", ".join(map(str, protocol.seeds))
        found.append(f"seed {cell.seed}: not a seed of '{protocol.name}', which has {seeds}")
    if relabels:
        found.append("sees the labels of a second draw")
    if selection != protocol.selection:
        found.append(f"evaluates another model: {selection}")
    return found + [f"own optimizer without a source: {text}" for text in optimizers]


def reasons_not_standard(record: Record, protocol: Protocol | None) -> list[str]:
    """Return the reasons why a record does not belong in a standard table; empty if it does.

    Without the protocol, because it is not installed, the record does not belong there either.
    """
    found = _unknown(record.cell) if protocol is None else _departures(record, protocol)
    if record.config.protocol.get("draft") and not (protocol and protocol.draft):
        found.append(f"'{record.cell.protocol}' was a draft when it ran")
    if record.measured.executor == INLINE:
        found.append(f"ran in the calling process (--executor {INLINE})")
    return found


def why_not_standard(record: Record, protocol: Protocol | None) -> str:
    """The reasons in one line; if none is known, the line says so."""
    return "; ".join(reasons_not_standard(record, protocol)) or "the record does not say why"


def _unknown(cell: Cell) -> list[str]:
    overrides = [f"overrides {cell.changes}"] if cell.changes else []
    return [*overrides, f"protocol '{cell.protocol}' is not installed"]


def _departures(record: Record, protocol: Protocol) -> list[str]:
    return departures(
        record.cell,
        protocol,
        relabels=record.result is not None and record.result.fingerprints.relabeled is not None,
        selection=record.selection,
        optimizers=[
            line
            for stage, optimizers in record.config.optimizers.items()
            for facts in optimizers.values()
            for line in unsourced(stage, facts.departures, facts.source)
        ],
    )


def _budgets(protocol: Protocol) -> str:
    """The budgets of a protocol's tables, in words."""
    found = [f"ratios {', '.join(protocol.ratios)}"] if protocol.ratios else []
    found += [f"{', '.join(map(str, protocol.counts))} labels"] if protocol.counts else []
    found += [f"{', '.join(map(str, protocol.per_class))} per class"] if protocol.per_class else []
    return f"{' or '.join(found) or 'none'} ({', '.join(protocol.allocations)})"


def unsourced(stage: str, departures: Mapping[str, object], source: str) -> list[str]:
    """Return one line with a stage's optimizer settings that depart from the protocol; none if a `source` is given."""
    if source or not departures:
        return []
    return [f"stage '{stage}': " + ", ".join(f"{name}={value}" for name, value in departures.items())]


def _standard(record: Record, protocols: Protocols) -> RecordCheck:
    """A record must call itself standard if, and only if, it is."""
    cell = record.cell
    failed, unchecked = partial(RecordCheck, "standard", "failed"), partial(RecordCheck, "standard", "unchecked")
    if record.standard and cell.changes:
        return failed(f"it is recorded as true, but the cell has the overrides {cell.changes}")
    if (protocol := protocols.get(cell.protocol)) is None:
        return unchecked(f"protocol '{cell.protocol}' is not built in", INSTALL)
    if record.headline != protocol.headline:
        return failed(f"its headline is {record.headline}, but the protocol's is {protocol.headline}")
    declared = record.config.protocol
    terms = {name: declared[name] for name in LABEL_TERMS if name in declared}
    if terms != protocol.label_terms:
        return failed(
            f"its label terms are {terms or 'plain'}, but the protocol's are {protocol.label_terms or 'plain'}"
        )
    terms = {name: declared[name] for name in EVALUATION_TERMS if name in declared}
    if terms != protocol.evaluation_terms:
        return failed(
            f"its evaluation terms are {terms or 'plain'}, "
            f"but the protocol's are {protocol.evaluation_terms or 'plain'}"
        )
    expected = not reasons_not_standard(record, protocol)
    if record.standard == expected:
        return RecordCheck("standard", "verified")
    if record.result is None and not record.standard:
        reason = "without a result it is not known whether the method saw more labels than the budget"
        return unchecked(reason, "run the cell again")
    return failed(f"it is recorded as {record.standard}, but the cell gives {expected}".lower())


def _count_problems(result: Result, cell: Cell) -> list[str]:
    problems = []
    classes = len(result.class_names)
    if len(set(result.class_names)) != classes:
        problems.append("a class is named twice")
    if set(result.metrics.per_class_recall) != set(result.class_names):
        problems.append("the recalls are not those of the classes")
    if cell.test_on is None and not set(result.labeled_counts) <= set(result.class_names):
        problems.append("labels are counted for an unknown class")
    if cell.test_on is not None and not set(result.class_names) <= set(result.labeled_counts):
        problems.append("a class is tested that was not trained")
    if (result.n_validation is None) != (result.fingerprints.validation is None):
        problems.append("n_validation and the fingerprint of the validation images must be both present or both absent")
    if (result.n_test_left_out is None) != (cell.test_on is None):
        problems.append("n_test_left_out must be present if another dataset is tested, and absent otherwise")
    if min(result.labeled_counts.values(), default=0) < 0 or sum(result.labeled_counts.values()) != result.n_labeled:
        problems.append(f"the labels per class do not add up to n_labeled = {result.n_labeled}")
    if len(result.confusion) != classes or any(len(row) != classes for row in result.confusion):
        problems.append(f"the confusion matrix is not {classes} by {classes}")
    counts = [count for row in result.confusion for count in row]
    if min(counts, default=0) < 0 or sum(counts) != result.n_test:
        problems.append(f"the confusion matrix does not add up to n_test = {result.n_test}")
    return problems


def _oracle(result: Result, record: Record) -> RecordCheck:
    """Check that the oracle is possible; no more can be said, because its predictions are not stored."""
    oracle, final, headline = result.oracle, result.metrics, record.headline
    if record.cell.test_on is not None:
        return passed("oracle", [] if oracle is None else ["it must be absent if another dataset is tested"])
    if oracle is None:
        return RecordCheck("oracle", "failed", "it is absent")
    problems = []
    if oracle.evaluations > (most := _most_evaluations(record)):
        problems.append(f"it is the best of {oracle.evaluations} evaluations, but at most {most} are allowed")
    if oracle.step > result.steps:
        problems.append(f"its step is {oracle.step}, but the run has only {result.steps} steps")
    best, last = getattr(oracle, headline), getattr(final, headline)
    if best < last - TOLERANCE:
        problems.append(f"its {headline} {best} is below the final {last}, which is one of the evaluations")
    if oracle.step == result.steps or oracle.evaluations == 1:
        problems += [
            f"its {key} {getattr(oracle, key)} is that of the last step, but the final one is {getattr(final, key)}"
            for key in (metric.key for metric in HEADLINES)
            if not _same(getattr(oracle, key), getattr(final, key))
        ]
    if problems:
        return RecordCheck("oracle", "failed", "; ".join(problems))
    return RecordCheck(
        "oracle", "unchecked", "it is possible, but the predictions of earlier steps are not stored", RUN_AGAIN
    )


def _most_evaluations(record: Record) -> int:
    """The number of evaluations in the record's recipe (the default if it has none), at most one per epoch."""
    said = record.config.protocol.get("evaluations", Recipe.model_fields["evaluations"].default)
    return min(said, EPOCHS) if isinstance(said, int) else 0


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE


def _number(value: float | None) -> str:
    return "absent" if value is None else repr(value)
