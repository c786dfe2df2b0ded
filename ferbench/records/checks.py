"""What must hold inside one record, whatever lies beside it."""

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

State = Literal["verified", "failed", "unchecked", "noted"]
"""`noted` is what holds, and a reader should know."""
Protocols = Mapping[str, Protocol]
"""The protocols whose rules records are checked by: the built-in ones, which need no plugin's code."""

# Sums of a few thousand float64 values differ in their last bits between machines, by far less than this.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class RecordCheck:
    """One thing that was looked at: whether it holds, and what was found or why it could not be checked."""

    name: str
    state: State
    detail: str = ""


def passed(name: str, problems: list[str]) -> RecordCheck:
    """`verified` without problems, else `failed` with all of them."""
    return RecordCheck(name, "failed", "; ".join(problems)) if problems else RecordCheck(name, "verified")


def check_record(record: Record, protocols: Protocols, known: Known = NOTHING) -> Iterator[RecordCheck]:
    """Identity, and every number that follows from another number of the same record."""
    recorded, computed = record.cell_id, record.cell.cell_id
    same = [] if recorded == computed else [f"recorded as {recorded[:12]}…, the cell gives {computed[:12]}…"]
    yield passed("cell id", same)
    yield _standard(record, protocols)
    if record.tunings:
        yield _tunings(record, known)
    if record.result is None:
        return
    protocol, dataset = protocols.get(record.cell.protocol), known.dataset(record.cell.dataset)
    if protocol is not None:
        problems = recipe_problems(record, protocol, dataset.family if dataset else None)
        if problems and record.config.protocol.get("draft"):  # what was made under a draft stays what it was
            yield RecordCheck("recipe", "noted", f"under a draft; since then {'; '.join(problems)}")
        else:
            yield passed("recipe", problems)
    if dataset is not None and record.cell.test_on is None:
        yield passed("classes", _class_problems(record.result, dataset.classes.get(record.cell.classes)))
    yield passed("budget", budget_problems(record, record.result, protocol))
    yield passed("costs", cost_problems(record, record.result))
    shape = passed("counts", _count_problems(record.result, record.cell))
    yield shape
    if shape.state == "failed":  # the rest would stumble over a matrix that is not square
        return
    outcome = Outcome(np.array(record.result.confusion, dtype=np.int64))
    yield passed("metrics", differences(record.result, outcome, source="the confusion matrix"))
    yield _oracle(record.result, record)


def differences(result: Result, outcome: Outcome, source: str) -> list[str]:
    """Each recorded metric that is not what its source gives, with both values.

    A metric that the record is too old for is not compared, nor one that needs logits where there are none.
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
        f"{name} is recorded as {_number(was)}, {source} gives {_number(is_)}"
        for name, was, is_ in pairs
        if not _same(was, is_)
    ]


def _tunings(record: Record, known: Known) -> RecordCheck:
    """What the owner tunes is compared where its code is installed; other code may tune otherwise."""
    problems, stamps, others = _tuning_problems(record), {**record.plugins, "method": record.plugin}, []
    for role, tuning in record.tunings.items():
        found = known.tuning(record.cell, role)
        if problems or found is None or found.says(tuning):
            continue
        if found.source_hash == stamps[role].source_hash:
            problems.append(f"the {role} is not tuned so by the code of {found.distribution} that it ran")
        else:
            others.append(f"the {role} is tuned otherwise by the {found.distribution} that is installed")
    if others and not problems:
        return RecordCheck("tunings", "noted", "; ".join(others))
    return passed("tunings", problems)


def _class_problems(result: Result, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return ["the dataset has no such set of classes"]
    return [] if list(names) == result.class_names else [f"they are not {', '.join(names)} in this order"]


def _tuning_problems(record: Record) -> list[str]:
    """Options may only be tuned by the owner of what has them; that the trials were made is its word."""
    stamps = {**record.plugins, "method": record.plugin}
    owners = {role: stamps[role].distribution if role in stamps else "nobody" for role in record.tunings}
    return [
        f"the {role} is tuned by {tuning.distribution}, and is of {owners[role]}"
        for role, tuning in record.tunings.items()
        if owners[role] != tuning.distribution
    ]


def departures(cell: Cell, protocol: Protocol, *, relabels: bool, selection: str, optimizers: list[str]) -> list[str]:
    """Why a cell does not belong in a standard table; empty if it does.

    A method that `relabels` has seen more labels than the budget allows. `selection` is what it evaluates,
    `optimizers` are the stages that train otherwise than the protocol and say no source.
    """
    budget, found = cell.budget, []
    if protocol.draft:
        found.append(f"'{protocol.name}' is a draft")
    if cell.overrides:
        found.append(cell.changes)
    listed = (
        budget.ratio in protocol.ratios or budget.count in protocol.counts or budget.per_class in protocol.per_class
    )
    if not listed or not (budget.per_class is not None or budget.allocation in protocol.allocations):
        found.append(f"{budget.title()}: not in '{protocol.name}', which has {_budgets(protocol)}")
    if cell.seed not in protocol.seeds:
        seeds = ", ".join(map(str, protocol.seeds))
        found.append(f"seed {cell.seed}: not in '{protocol.name}', which has seeds {seeds}")
    if relabels:
        found.append("sees labels of a second draw")
    if selection != protocol.selection:
        found.append(f"evaluates: {selection}")
    return found + [f"own optimizer without a source: {text}" for text in optimizers]


def _budgets(protocol: Protocol) -> str:
    """The budgets of a protocol's tables, in words."""
    found = [f"ratios {', '.join(protocol.ratios)}"] if protocol.ratios else []
    found += [f"{', '.join(map(str, protocol.counts))} labels"] if protocol.counts else []
    found += [f"{', '.join(map(str, protocol.per_class))} per class"] if protocol.per_class else []
    return f"{' or '.join(found) or 'none'} ({', '.join(protocol.allocations)})"


def unsourced(stage: str, departures: Mapping[str, object], source: str) -> list[str]:
    """What is not the protocol's in a stage's optimizer, unless its `source` is said; of at most one line."""
    if source or not departures:
        return []
    return [f"stage '{stage}': " + ", ".join(f"{name}={value}" for name, value in departures.items())]


def _standard(record: Record, protocols: Protocols) -> RecordCheck:
    """A record that calls itself standard must be."""
    cell = record.cell
    failed, unchecked = partial(RecordCheck, "standard", "failed"), partial(RecordCheck, "standard", "unchecked")
    if record.standard and cell.overrides:
        return failed(f"recorded as true, but the cell has overrides {cell.changes}")
    if (protocol := protocols.get(cell.protocol)) is None:
        return unchecked(f"protocol '{cell.protocol}' is not built in")
    if record.headline != protocol.headline:
        return failed(f"its headline is {record.headline}, the protocol's {protocol.headline}")
    declared = record.config.protocol
    terms = {name: declared[name] for name in LABEL_TERMS if name in declared}
    if terms != protocol.label_terms:
        return failed(f"its labels are {terms or 'plain'}, the protocol's are not")
    terms = {name: declared[name] for name in EVALUATION_TERMS if name in declared}
    if terms != protocol.evaluation_terms:
        return failed(f"its evaluation is {terms or 'plain'}, the protocol's is not")
    relabels = record.result is not None and record.result.fingerprints.relabeled is not None
    reasons = departures(
        cell,
        protocol,
        relabels=relabels,
        selection=record.selection,
        optimizers=[
            line
            for stage, optimizers in record.config.optimizers.items()
            for facts in optimizers.values()
            for line in unsourced(stage, facts.departures, facts.source)
        ],
    )
    was_draft = bool(record.config.protocol.get("draft"))
    expected = not reasons and not was_draft and record.measured.executor != INLINE
    if record.standard == expected:
        return RecordCheck("standard", "verified")
    if record.result is None and not record.standard:
        return unchecked("only a result says whether its method saw more labels than the budget")
    return failed(f"recorded as {record.standard}, the cell gives {expected}".lower())


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
        problems.append("images are held out for validation, or counted as such, only where they have a fingerprint")
    if (result.n_test_left_out is None) != (cell.test_on is None):
        problems.append("test images are left out, or counted as such, only where another dataset is tested")
    if min(result.labeled_counts.values(), default=0) < 0 or sum(result.labeled_counts.values()) != result.n_labeled:
        problems.append(f"the labels per class do not add up to n_labeled = {result.n_labeled}")
    if len(result.confusion) != classes or any(len(row) != classes for row in result.confusion):
        problems.append(f"the confusion matrix is not {classes} by {classes}")
    counts = [count for row in result.confusion for count in row]
    if min(counts, default=0) < 0 or sum(counts) != result.n_test:
        problems.append(f"the confusion matrix does not add up to n_test = {result.n_test}")
    return problems


def _oracle(result: Result, record: Record) -> RecordCheck:
    """Its predictions are not stored, so the most that can be said is that it is possible."""
    oracle, final, headline = result.oracle, result.metrics, record.headline
    if record.cell.test_on is not None:
        return passed("oracle", [] if oracle is None else ["another dataset is tested once, after training"])
    if oracle is None:
        return RecordCheck("oracle", "failed", "absent")
    problems = []
    if oracle.evaluations > (most := _most_evaluations(record)):
        problems.append(f"{oracle.evaluations} evaluations, at most {most} are allowed")
    if oracle.step > result.steps:
        problems.append(f"at step {oracle.step} of {result.steps}")
    best, last = getattr(oracle, headline), getattr(final, headline)
    if best < last - TOLERANCE:
        problems.append(f"{headline} {best} is below the final {last}, which is one of them")
    if oracle.step == result.steps or oracle.evaluations == 1:
        problems += [
            f"{key} {getattr(oracle, key)} of the last step is not the final {getattr(final, key)}"
            for key in (metric.key for metric in HEADLINES)
            if not _same(getattr(oracle, key), getattr(final, key))
        ]
    if problems:
        return RecordCheck("oracle", "failed", "; ".join(problems))
    return RecordCheck("oracle", "unchecked", "possible, but predictions of earlier steps are not stored")


def _most_evaluations(record: Record) -> int:
    """What the record's recipe says, and never more than one for each epoch; the usual number if it says nothing."""
    said = record.config.protocol.get("evaluations", Recipe.model_fields["evaluations"].default)
    return min(said, EPOCHS) if isinstance(said, int) else 0


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE


def _number(value: float | None) -> str:
    return "absent" if value is None else repr(value)
