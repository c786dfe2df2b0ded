"""Synthetic records that hold: random predictions, and everything that follows from them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ferbench.contract.events import EpochRow
from ferbench.contract.protocol import Recipe
from ferbench.discovery.loader import builtin_protocols
from ferbench.records.cell import Budget, Cell, digest
from ferbench.records.history import history_digest
from ferbench.records.metrics import HEADLINES, evaluate, to_float16
from ferbench.records.predictions import Predictions, labeled_fingerprint
from ferbench.records.schema import ErrorReport, Measured, Oracle, PluginStamp, Record, RecordConfig, Result
from ferbench.records.store import RunStore

CLASS_NAMES = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
PROTOCOLS = builtin_protocols()
STAMP = PluginStamp(distribution="ferbench", version="0.1.0", source_hash="ab" * 32)
DEFAULT_VARIANTS = {"supervised": "weak"}


def make_cell(method: str = "fixmatch", seed: int = 0, **changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "protocol": "ratio-v1",
        "dataset": "synthfaces",
        "budget": Budget(ratio="0.05"),
        "variant": DEFAULT_VARIANTS.get(method, "described"),
        "backbone": "small-resnet",
    }
    return Cell(method=method, seed=seed, **{**fields, **changes})


def make_predictions(skill: float = 2.0, seed: int = 0, n_test: int = 210, classes: int = 7) -> Predictions:
    """Random logits whose true class is raised by `skill`; labels go round the classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(n_test, dtype=np.int64) % classes
    logits = random.normal(size=(n_test, classes))
    logits[np.arange(n_test), labels] += skill
    return Predictions([f"test/{index:05d}" for index in range(n_test)], labels, to_float16(logits))


def recipe_of(cell: Cell) -> Recipe:
    """The recipe that the cell trains by; that of a standard one where its protocol is nobody's."""
    protocol = PROTOCOLS.get(cell.protocol, PROTOCOLS["ratio-v1"])
    recipe = protocol.recipe_for("synthfaces")
    return recipe.model_copy(update=dict(cell.overrides.protocol))


def _steps(cell: Cell) -> int:
    steps = recipe_of(cell).steps
    return steps if isinstance(steps, int) else 60


def make_row(epoch: int = 1, **fields: Any) -> EpochRow:
    loss = 1 / epoch
    values = {"stage": "train", "step": 20 * epoch, "learning_rate": 0.1, "loss": loss, "terms": {"supervised": loss}}
    return EpochRow(**{"epoch": epoch, **values, **fields})


def make_history(
    epochs: int = 3, predictions: Predictions | None = None, recipe: Recipe | None = None
) -> list[EpochRow]:
    """Rows of epochs; of predictions those of the recipe's evaluations, the best of them before the last step."""
    if predictions is None:
        return [make_row(epoch) for epoch in range(1, epochs + 1)]
    recipe = recipe or PROTOCOLS["ratio-v1"].recipe_for("synthfaces")
    metrics, _ = evaluate(predictions.logits, predictions.labels, CLASS_NAMES)
    last = {metric.key: getattr(metrics, metric.key) for metric in HEADLINES}
    best = {key: min(1.0, value + 0.01) for key, value in last.items()}
    rows, previous, length = [], 0, math.ceil(recipe.steps / 20)
    for step in [*range(length, recipe.steps, length), recipe.steps]:
        scores = last if step == recipe.steps else best
        more = {"evaluation": scores} if recipe.is_evaluated(step, previous) else {}
        # of another run every loss is another one
        loss = 1 / (len(rows) + 1) + 1e-9 * int(predictions.digest()[:6], 16)
        rows.append(make_row(len(rows) + 1, step=step, loss=loss, **more))
        previous = step
    return rows


def make_result(cell: Cell, predictions: Predictions, history: list[EpochRow]) -> Result:
    metrics, confusion = evaluate(predictions.logits, predictions.labels, CLASS_NAMES)
    split = [cell.dataset, cell.classes, cell.seed]
    evaluated = [row for row in history if row.evaluation]
    if evaluated:
        best = max(evaluated, key=lambda row: (row.evaluation[cell_headline(cell)], -row.step))
        oracle = Oracle(step=best.step, evaluations=len(evaluated), **best.evaluation)
    else:
        scores = {metric.key: getattr(metrics, metric.key) for metric in HEADLINES}
        oracle = Oracle(**{**scores, "accuracy": min(1.0, metrics.accuracy + 0.01)}, step=360, evaluations=6)
    return Result(
        class_names=CLASS_NAMES,
        metrics=metrics,
        confusion=confusion,
        n_test=len(predictions.ids),
        n_labeled=70,
        n_unlabeled=round(70 / float(cell.budget.ratio or "0.05")) - 70,
        labeled_counts=dict.fromkeys(CLASS_NAMES, 10),
        fingerprints={
            "data": digest(cell.dataset),
            "labeled": digest([*split, cell.budget.label()]),
            "test": labeled_fingerprint(predictions.ids, [CLASS_NAMES[label] for label in predictions.labels]),
            "split_rule": "sha256-v1",
            "test_data": digest(cell.test_on) if cell.test_on else None,
        },
        predictions_digest=predictions.digest(),
        history_digest=history_digest(history),
        model_digest=digest(cell.base.cell_id),
        oracle=None if cell.test_on else oracle,
        n_test_left_out=0 if cell.test_on else None,
        steps=_steps(cell),
        image_passes=160 * _steps(cell),
        parameters=1_234_567,
    )


def cell_headline(cell: Cell) -> str:
    return PROTOCOLS.get(cell.protocol, PROTOCOLS["ratio-v1"]).headline


def make_config(cell: Cell) -> dict[str, Any]:
    """The fields of the protocol as a record has them."""
    protocol = PROTOCOLS.get(cell.protocol, PROTOCOLS["ratio-v1"])
    recipe = recipe_of(cell).model_dump(mode="json", exclude={"backbone"})
    terms = {**protocol.recorded, **protocol.label_terms, **protocol.evaluation_terms}
    return {"name": cell.protocol, "split_rule": protocol.split_rule, **terms, **recipe}


def make_measured(cell: Cell, **changes: Any) -> Measured:
    """Times that fit the image passes."""
    seconds = 80.0
    speed = round(160 * _steps(cell) / seconds, 2)
    fields = {"wall_seconds": 90.0 + cell.seed, "train_seconds": seconds, "images_per_second": speed, "device": "cpu"}
    return Measured(**{"started_at": "2026-01-01T00:00:00+00:00", **fields, **changes})


def make_record(cell: Cell, predictions: Predictions, history: list[EpochRow], **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "status": "ok",
        "result": make_result(cell, predictions, history),
        "cell": cell,
        "cell_id": cell.cell_id,
        "standard": not cell.overrides,
        "config": RecordConfig(protocol=make_config(cell), method={"threshold": 0.95, **cell.overrides.method}),
        "measured": make_measured(cell),
        "plugin": STAMP,
        "plugins": {"dataset": STAMP},
        "engine_version": 1,
        "environment": {"python": "3.11.7"},
    }
    return Record(**{**fields, **changes})


def write_record(
    root: Path, cell: Cell, skill: float = 2.0, predictions: Predictions | None = None, **changes: Any
) -> Path:
    """A whole, valid cell below `root`: predictions, history, record. Returns the path of record.json."""
    predictions = predictions or make_predictions(skill, int(cell.cell_id[:8], 16))
    history = [] if cell.test_on else make_history(predictions=predictions, recipe=recipe_of(cell))
    record = make_record(cell, predictions, history, **changes)
    return RunStore(root).write_result(cell, record, predictions, history)


def write_failure(root: Path, cell: Cell, message: str = "loss is not finite", status: str = "diverged") -> Path:
    """A cell that ended without a result."""
    error = ErrorReport(type="DivergedError", message=message, step=17, term="unlabeled")
    record = make_record(cell, make_predictions(), make_history(), status=status, result=None, error=error)
    return RunStore(root).write_result(cell, record)
