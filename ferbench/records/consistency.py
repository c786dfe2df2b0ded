"""What a record says twice must agree: recipe and protocol, history and metrics, budget and counts, times and speed.

Two rules know records of 0.1, which have schema version 1 as later ones and no facts of optimizers: these name no
tunings, so what 0.1 tuned stands in `RECIPES_V1`; and they have no `forward_images`.
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
"""Of seconds and images per second, which records hold with three and two decimals: relative, and absolute."""
OF_METHOD = "joint_forward"
"""The one field of the recipe that a method may say otherwise."""
NAMES = ("name", "split_rule")


def recipe_problems(record: Record, protocol: Protocol, family: str | None) -> list[str]:
    """Fields of the recorded recipe that are not the protocol's with what is tuned and overridden.

    `family` is the dataset's; where it is not known, the recipe may be that of any family.
    """
    recorded, cell = recipe_of_today(record.config.protocol), record.cell
    declared = {name: recorded.pop(name) for name in (*NAMES, *RECORDED) if name in recorded}
    expected = {"name": protocol.name, "split_rule": protocol.split_rule, **protocol.recorded}
    problems = list(_differences(declared, expected, but="draft"))
    for name in (*LABEL_TERMS, *EVALUATION_TERMS):  # which are compared where `standard` is
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
    """The fields that a cell trains with: the protocol's, then the tuned ones, then its overrides."""
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
    """A described method runs with the options that its tuning names, but for overrides."""
    tuning = record.tunings.get("method")
    if tuning is None or cell.variant != DESCRIBED:
        return
    groups = {name.rpartition(".")[0] for name in tuning.options} - {""}
    used = dict(flat(record.config.method, groups))
    for name, value in flat(tuning.options, groups):
        if name not in cell.overrides.method and name in used and used[name] != value:
            yield f"option {name} is {used[name]!r}, tuned is {value!r}"


def _optimizer_problems(facts: OptimizerFacts, recipe: Mapping[str, Any]) -> Iterator[str]:
    """What trained was the recipe's but for its departures, which are listed with their values."""
    expected = {**recipe, **facts.departures}
    said = {"schedule": facts.schedule, "warmup": facts.warmup}
    if "factory" not in facts.departures:
        said["optimizer"] = facts.optimizer.lower()
    for name, value in said.items():
        if expected.get(name) != value:
            yield f"its {name} was {value!r}, the recipe's is {expected.get(name)!r}"
    rates = {group.learning_rate for group in facts.groups}
    if not {"factory", "groups"} & facts.departures.keys() and rates - {expected.get("learning_rate")}:
        yield f"its learning rates were {sorted(rates)}, the recipe's is {expected.get('learning_rate')}"


def _differences(recorded: Mapping[str, Any], expected: Mapping[str, Any], but: str = "") -> Iterator[str]:
    for name in sorted(recorded.keys() | expected.keys()):
        if name == but:
            continue
        if name not in expected:
            yield f"there is no field {name} of the protocol"
        elif name not in recorded:
            yield f"{name} is missing, the protocol's is {expected[name]!r}"
        elif recorded[name] != expected[name]:
            yield f"{name} is {recorded[name]!r}, the protocol's is {expected[name]!r}"


def history_problems(record: Record, result: Result, rows: Sequence[EpochRow]) -> list[str]:
    """What the rows of a history say otherwise than the record: steps, when it was evaluated, scores, the oracle.

    Steps of pre-training come on top of the record's, so the rows before them are those of stages of their own.
    """
    if record.cell.test_on is not None:
        return ["another dataset is tested after training, which has no history"] if rows else []
    if not rows:
        return ["it has no epoch"]
    extra = rows[-1].step - result.steps
    problems = list(_order_problems(rows, extra, result))
    try:
        recipe = Recipe.model_validate({"backbone": "", **_fields_of_recipe(record)})
    except ValidationError as error:
        return [*problems, f"the recipe of the record is none: {first_problem(error)}"]
    if recipe.steps != result.steps:
        problems.append(f"the recipe has {recipe.steps} steps, the result {result.steps}")
        return problems
    begins = [0, *(row.step for row in rows)]
    due = [
        previous >= extra and recipe.is_evaluated(row.step - extra, previous - extra)
        for previous, row in zip(begins, rows, strict=False)
    ]
    if due != [row.evaluation is not None for row in rows]:
        problems.append(f"its evaluations are not those that {recipe.evaluations} in {recipe.steps} steps are")
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
        yield "its steps do not rise"
    if extra < 0:
        yield f"it ends at step {rows[-1].step} of {result.steps}"
    elif extra > 0:
        before = {row.stage for row in rows if row.step <= extra}
        if extra not in steps or before & {row.stage for row in rows if row.step > extra}:
            yield f"it has {extra} steps more than the result, and they are no stages of pre-training"


def _score_problems(record: Record, result: Result, rows: Sequence[EpochRow], extra: int) -> Iterator[str]:
    """The last evaluation is the result, and the best one the oracle, the earliest of equal ones."""
    found = [(row.step - extra, row.evaluation) for row in rows if row.evaluation is not None]
    keys = [metric.key for metric in HEADLINES]
    if any(not set(keys) <= evaluation.keys() for _, evaluation in found):
        yield f"an evaluation lacks one of {', '.join(keys)}"
        return
    for key in keys:
        if (last := found[-1][1][key]) != getattr(result.metrics, key):
            yield f"its last evaluation has {key} {last}, the result {getattr(result.metrics, key)}"
    step, best = max(found, key=lambda each: (each[1][record.headline], -each[0]))
    said = {"step": step, "evaluations": len(found), **{key: best[key] for key in keys}}
    if result.oracle is not None:
        for name, value in said.items():
            if getattr(result.oracle, name) != value:
                yield f"the oracle's {name} is {getattr(result.oracle, name)}, that of its evaluations {value}"


def budget_problems(record: Record, result: Result, protocol: Protocol | None) -> list[str]:
    """Counts of images that do not follow from the label budget, and parts of the data that are there or not."""
    cell, labeled = record.cell, result.n_labeled + (result.n_validation or 0)
    problems = list(_amount_problems(cell, result, labeled))
    prints = result.fingerprints
    parts: list[tuple[str, object, bool]] = [
        ("near-duplicates are counted", result.n_near_duplicates, cell.pool is not None),
        ("there is a fingerprint of a pool", prints.pool, cell.pool is not None),
        ("there is a fingerprint of another test set", prints.test_data, cell.test_on is not None),
    ]
    if protocol is not None:
        parts += [
            ("there is a fingerprint of folds", prints.folds, protocol.folds is not None and cell.test_on is None),
            ("images are held out for validation", prints.validation, protocol.validation is not None),
            ("there is a fingerprint of label noise", prints.label_noise, protocol.label_noise is not None),
        ]
        if prints.split_rule != protocol.split_rule:
            problems.append(f"the split rule is {prints.split_rule}, the protocol's {protocol.split_rule}")
    for what, found, wanted in parts:
        if (found is not None) != wanted:
            problems.append(f"{what}, and the cell has none" if found is not None else f"it is not so that {what}")
    return problems


def _amount_problems(cell: Cell, result: Result, labeled: int) -> Iterator[str]:
    budget, classes = cell.budget, len(result.labeled_counts)
    if budget.ratio is not None and cell.keeps_rest and cell.pool is None and result.n_unlabeled is not None:
        whole = labeled + result.n_unlabeled
        if abs(labeled - float(budget.ratio) * whole) > classes:
            yield f"{labeled} of {whole} training images are labeled, {budget.title()} are not so many"
    if budget.per_class is not None and labeled != budget.per_class * classes:
        yield f"{labeled} labeled images are not {budget.per_class} of each of {classes} classes"
    if budget.count is not None and labeled > budget.count:
        yield f"{labeled} labeled images are more than {budget.count}"


def cost_problems(record: Record, result: Result) -> list[str]:
    """Times that are none, passes that contradict the steps or the measured speed, code without a hash."""
    measured = record.measured
    problems = list(_time_problems(measured))
    stamps = {"method": record.plugin, **record.plugins}
    problems += [
        f"the source hash of the {role} is no SHA-256"
        for role, stamp in stamps.items()
        if not _is_hash(stamp.source_hash)
    ]
    if result.image_passes < result.steps:
        problems.append(f"{result.image_passes} image passes in {result.steps} steps")
    if result.forward_images is not None and result.forward_images < result.image_passes:
        problems.append(f"{result.forward_images} images were sent forward in all, {result.image_passes} in training")
    if result.parameters < len(result.class_names):
        problems.append(f"a net of {result.parameters} parameters has no output for {len(result.class_names)} classes")
    passes = measured.images_per_second * measured.train_seconds
    if record.cell.test_on is None and not _close(passes, result.image_passes):
        problems.append(
            f"{measured.images_per_second} images a second in {measured.train_seconds} s are not "
            f"{result.image_passes} image passes"
        )
    return problems


def _time_problems(measured: Measured) -> Iterator[str]:
    for name, text in {"started_at": measured.started_at, "finished_at": measured.finished_at}.items():
        try:
            datetime.fromisoformat(text or "1970-01-01")
        except ValueError:
            yield f"{name} is no time: {text!r}"
    if measured.train_seconds > measured.wall_seconds * (1 + ROUNDING) + 1:
        yield f"{measured.train_seconds} s of training in {measured.wall_seconds} s"
    if measured.data_wait_seconds > measured.train_seconds * (1 + ROUNDING) + 1:
        yield f"{measured.data_wait_seconds} s of waiting for data in {measured.train_seconds} s of training"


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= ROUNDING * max(one, other) + 1


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef") and len(set(text)) > 1
