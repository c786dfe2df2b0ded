"""Check that a record does not contradict itself: recipe, history, metrics, budget, counts, times and speed.

Two rules handle records of ferbench 0.1, which have schema version 1 like later ones, but no facts of optimizers. They
do not name their tunings, so `RECIPES_V1` lists what 0.1 tuned; and they have no `forward_images`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue, ValidationError

from ferbench.contract.events import EpochRow
from ferbench.contract.protocol import EVALUATION_TERMS, LABEL_TERMS, RECORDED, TUNABLE, Protocol, Recipe
from ferbench.records.cell import Cell
from ferbench.records.dotted import flat
from ferbench.records.metrics import HEADLINES
from ferbench.records.names import DESCRIBED
from ferbench.records.options_v1 import RECIPES_V1, recipe_of_today
from ferbench.records.schema import Measured, OptimizerFacts, Record, Result, first_problem

ROUNDING = 0.01
"""Relative tolerance for products of seconds and images per second, which are stored with three and two decimals."""
OF_METHOD = "joint_forward"
"""The only field of the recipe that a method may change."""
NAMES = ("name", "split_rule")


def recipe_problems(record: Record, protocol: Protocol, family: str | None) -> list[str]:
    """Return the fields of the recorded recipe that differ from the protocol's with its tunings and overrides.

    `family` is the dataset's; if it is None, the recipe may be that of any family.
    """
    recorded, cell = recipe_of_today(record.config.protocol), record.cell
    declared = {name: recorded.pop(name) for name in (*NAMES, *RECORDED) if name in recorded}
    expected = {"name": protocol.name, "split_rule": protocol.split_rule, **protocol.recorded}
    problems = list(_differences(declared, expected, but="draft"))
    for name in (*LABEL_TERMS, *EVALUATION_TERMS):  # the check of `standard` compares them
        recorded.pop(name, None)
    recipes = protocol.recipes.values() if family is None else [protocol.recipe_for(family)]
    candidates = [list(_differences(recorded, _recipe(recipe, record), but=OF_METHOD)) for recipe in recipes]
    optimizers = (
        f"stage {stage}, optimizer {name}: {problem}"
        for stage, facts in record.config.optimizers.items()
        for name, each in facts.items()
        for problem in _optimizer_problems(each, recorded)
    )
    return [*problems, *min(candidates, key=len), *_tuned_options(record, cell), *optimizers]


def _recipe(recipe: Recipe, record: Record) -> dict[str, Any]:
    """The recipe that a cell trains with: the protocol's fields, replaced by tuned ones, then by overrides."""
    fields = recipe.model_dump(mode="json", exclude={"backbone"})
    tuned: Mapping[str, JsonValue] = {}
    if "backbone" in record.tunings:
        tuned = record.tunings["backbone"].options
    elif not record.config.optimizers:
        tuned = RECIPES_V1.get(record.cell.backbone.partition("/")[0], {})
    fields |= {name: value for name, value in tuned.items() if name in TUNABLE}
    for name, value in record.cell.overrides.protocol.items():
        *parents, leaf = name.split(".")
        target = fields
        for parent in parents:
            inner = target.get(parent)
            target = inner if isinstance(inner, dict) else {}
        target[leaf] = value
    return fields


def _tuned_options(record: Record, cell: Cell) -> Iterator[str]:
    """The `described` variant must run with its tuned options, except for overrides."""
    tuning = record.tunings.get("method")
    if tuning is None or cell.variant != DESCRIBED:
        return
    groups = {name.rpartition(".")[0] for name in tuning.options} - {""}
    used = dict(flat(record.config.method, groups))
    for name, value in flat(tuning.options, groups):
        if name not in cell.overrides.method and name in used and used[name] != value:
            yield f"option {name} is {used[name]!r}, but its tuned value is {value!r}"


def _optimizer_problems(facts: OptimizerFacts, recipe: Mapping[str, Any]) -> Iterator[str]:
    """The optimizer must be the recipe's, except for its departures, which are listed with their values."""
    expected = {**recipe, **facts.departures}
    said = {"schedule": facts.schedule, "warmup": facts.warmup}
    if "factory" not in facts.departures:
        said["optimizer"] = facts.optimizer.lower()
    for name, value in said.items():
        if expected.get(name) != value:
            yield f"its {name} was {value!r}, but the recipe's is {expected.get(name)!r}"
    rates = {group.learning_rate for group in facts.groups}
    if not {"factory", "groups"} & facts.departures.keys() and rates - {expected.get("learning_rate")}:
        yield f"its learning rates were {sorted(rates)}, but the recipe's is {expected.get('learning_rate')}"


def _differences(recorded: Mapping[str, Any], expected: Mapping[str, Any], but: str = "") -> Iterator[str]:
    for name in sorted(recorded.keys() | expected.keys()):
        if name == but:
            continue
        if name not in expected:
            yield f"the protocol has no field {name}"
        elif name not in recorded:
            yield f"{name} is missing, but the protocol's is {expected[name]!r}"
        elif recorded[name] != expected[name]:
            yield f"{name} is {recorded[name]!r}, but the protocol's is {expected[name]!r}"


def history_problems(record: Record, result: Result, rows: Sequence[EpochRow]) -> list[str]:
    """Return the contradictions between history rows and record: steps, evaluations, scores, oracle.

    The record does not count pre-training steps. So if a history has more steps than the record, the extra ones must
    come first and belong to other stages.
    """
    if record.cell.test_on is not None:
        return ["it must be empty if another dataset is tested"] if rows else []
    if not rows:
        return ["it has no epochs"]
    extra = rows[-1].step - result.steps
    problems = list(_order_problems(rows, extra, result))
    try:
        recipe = Recipe.model_validate({"backbone": "", **_fields_of_recipe(record)})
    except ValidationError as error:
        return [*problems, f"the record's recipe is not valid: {first_problem(error)}"]
    if recipe.steps != result.steps:
        problems.append(f"the recipe has {recipe.steps} steps, but the result has {result.steps}")
        return problems
    begins = [0, *(row.step for row in rows)]
    due = [
        previous >= extra and recipe.is_evaluated(row.step - extra, previous - extra)
        for previous, row in zip(begins, rows, strict=False)
    ]
    if due != [row.evaluation is not None for row in rows]:
        problems.append(
            f"its evaluations are not at the steps that {recipe.evaluations} evaluations in {recipe.steps} steps give"
        )
    return problems or list(_score_problems(record, result, rows, extra))


def _fields_of_recipe(record: Record) -> dict[str, Any]:
    return {
        name: value for name, value in recipe_of_today(record.config.protocol).items() if name in Recipe.model_fields
    }


def _order_problems(rows: Sequence[EpochRow], extra: int, result: Result) -> Iterator[str]:
    if [row.epoch for row in rows] != list(range(1, len(rows) + 1)):
        yield "its epochs are not numbered from 1"
    steps = [row.step for row in rows]
    if any(later <= earlier for earlier, later in zip([0, *steps], steps, strict=False)):
        yield "its steps do not increase"
    if extra < 0:
        yield f"it ends at step {rows[-1].step}, but the result has {result.steps} steps"
    elif extra > 0:
        before = {row.stage for row in rows if row.step <= extra}
        if extra not in steps or before & {row.stage for row in rows if row.step > extra}:
            yield f"it has {extra} more steps than the result, but they are not those of a pre-training stage"


def _score_problems(record: Record, result: Result, rows: Sequence[EpochRow], extra: int) -> Iterator[str]:
    """The last evaluation must be the result, and the best one (the earliest, if equal) the oracle."""
    found = [(row.step - extra, row.evaluation) for row in rows if row.evaluation is not None]
    keys = [metric.key for metric in HEADLINES]
    if any(not set(keys) <= evaluation.keys() for _, evaluation in found):
        yield f"an evaluation lacks one of {', '.join(keys)}"
        return
    for key in keys:
        if (last := found[-1][1][key]) != getattr(result.metrics, key):
            yield f"its last evaluation has {key} {last}, but the result has {getattr(result.metrics, key)}"
    step, best = max(found, key=lambda each: (each[1][record.headline], -each[0]))
    said = {"step": step, "evaluations": len(found), **{key: best[key] for key in keys}}
    if result.oracle is not None:
        for name, value in said.items():
            if getattr(result.oracle, name) != value:
                yield f"the oracle's {name} is {getattr(result.oracle, name)}, but its best evaluation has {value}"


def budget_problems(record: Record, result: Result, protocol: Protocol | None) -> list[str]:
    """Return the image counts that contradict the label budget, and data parts that are wrongly present or absent."""
    cell, labeled = record.cell, result.n_labeled + (result.n_validation or 0)
    problems = list(_amount_problems(cell, result, labeled))
    prints = result.fingerprints
    parts: list[tuple[str, object, bool]] = [
        ("number of near-duplicates", result.n_near_duplicates, cell.pool is not None),
        ("fingerprint of the pool", prints.pool, cell.pool is not None),
        ("fingerprint of the other test dataset", prints.test_data, cell.test_on is not None),
    ]
    if protocol is not None:
        parts += [
            ("fingerprint of the folds", prints.folds, protocol.folds is not None and cell.test_on is None),
            ("fingerprint of the validation images", prints.validation, protocol.validation is not None),
            ("fingerprint of the label noise", prints.label_noise, protocol.label_noise is not None),
        ]
        if prints.split_rule != protocol.split_rule:
            problems.append(f"the split rule is {prints.split_rule}, but the protocol's is {protocol.split_rule}")
    for what, found, wanted in parts:
        if (found is not None) != wanted:
            problems.append(f"there must be no {what}" if found is not None else f"the {what} is missing")
    return problems


def _amount_problems(cell: Cell, result: Result, labeled: int) -> Iterator[str]:
    budget, classes = cell.budget, len(result.labeled_counts)
    if budget.ratio is not None and cell.keeps_rest and cell.pool is None and result.n_unlabeled is not None:
        whole = labeled + result.n_unlabeled
        if abs(labeled - float(budget.ratio) * whole) > classes:
            yield f"{labeled} of {whole} training images are labeled, which is not {budget.title()}"
    if budget.per_class is not None and labeled != budget.per_class * classes:
        yield f"there are {labeled} labeled images, not {budget.per_class} for each of {classes} classes"
    if budget.count is not None and labeled > budget.count:
        yield f"there are {labeled} labeled images, more than the budget of {budget.count}"


def cost_problems(record: Record, result: Result) -> list[str]:
    """Return invalid times and source hashes, and image passes that contradict the steps or the measured speed."""
    measured = record.measured
    problems = list(_time_problems(measured))
    stamps = {"method": record.plugin, **record.plugins}
    problems += [
        f"the source hash of the {role} is not a SHA-256"
        for role, stamp in stamps.items()
        if not _is_hash(stamp.source_hash)
    ]
    if result.image_passes < result.steps:
        problems.append(f"{result.image_passes} image passes are too few for {result.steps} steps")
    if result.forward_images is not None and result.forward_images < result.image_passes:
        problems.append(f"forward_images {result.forward_images} is below image_passes {result.image_passes}")
    if result.parameters < len(result.class_names):
        problems.append(f"{result.parameters} parameters are too few for {len(result.class_names)} classes")
    passes = measured.images_per_second * measured.train_seconds
    if record.cell.test_on is None and not _close(passes, result.image_passes):
        problems.append(
            f"{measured.images_per_second} images per second in {measured.train_seconds} s do not give "
            f"{result.image_passes} image passes"
        )
    return problems


def _time_problems(measured: Measured) -> Iterator[str]:
    for name, text in {"started_at": measured.started_at, "finished_at": measured.finished_at}.items():
        try:
            datetime.fromisoformat(text or "1970-01-01")
        except ValueError:
            yield f"{name} is not a time: {text!r}"
    if measured.train_seconds > measured.wall_seconds * (1 + ROUNDING) + 1:
        yield f"train_seconds {measured.train_seconds} is above wall_seconds {measured.wall_seconds}"
    if measured.data_wait_seconds > measured.train_seconds * (1 + ROUNDING) + 1:
        yield f"data_wait_seconds {measured.data_wait_seconds} is above train_seconds {measured.train_seconds}"


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= ROUNDING * max(one, other) + 1


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef") and len(set(text)) > 1
