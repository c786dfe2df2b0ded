"""Synthetic records that hold: random predictions, and everything that follows from them."""

from pathlib import Path
from typing import Any

import numpy as np

from ferbench.contract.events import EpochRow
from ferbench.records.cell import Budget, Cell, digest
from ferbench.records.history import history_digest
from ferbench.records.metrics import evaluate, to_float16
from ferbench.records.predictions import Predictions, labeled_fingerprint
from ferbench.records.schema import ErrorReport, Measured, Oracle, PluginStamp, Record, RecordConfig, Result
from ferbench.records.store import RunStore

CLASS_NAMES = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
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


def make_row(epoch: int = 1, **fields: Any) -> EpochRow:
    loss = 1 / epoch
    values = {"stage": "train", "step": 20 * epoch, "learning_rate": 0.1, "loss": loss, "terms": {"supervised": loss}}
    return EpochRow(**{"epoch": epoch, **values, **fields})


def make_history(epochs: int = 3) -> list[EpochRow]:
    return [make_row(epoch) for epoch in range(1, epochs + 1)]


def make_result(cell: Cell, predictions: Predictions, history: list[EpochRow]) -> Result:
    metrics, confusion = evaluate(predictions.logits, predictions.labels, CLASS_NAMES)
    split = [cell.dataset, cell.classes, cell.seed]
    oracle = Oracle(
        accuracy=min(1.0, metrics.accuracy + 0.01),
        balanced_accuracy=metrics.balanced_accuracy,
        macro_f1=metrics.macro_f1,
        step=40,
        evaluations=6,
    )
    return Result(
        class_names=CLASS_NAMES,
        metrics=metrics,
        confusion=confusion,
        n_test=len(predictions.ids),
        n_labeled=70,
        n_unlabeled=1330,
        labeled_counts=dict.fromkeys(CLASS_NAMES, 10),
        fingerprints={
            "data": digest(cell.dataset),
            "labeled": digest([*split, cell.budget.label()]),
            "test": labeled_fingerprint(predictions.ids, [CLASS_NAMES[label] for label in predictions.labels]),
            "split_rule": "sha256-v1",
        },
        predictions_digest=predictions.digest(),
        history_digest=history_digest(history),
        model_digest=digest(cell.base.cell_id),
        oracle=None if cell.test_on else oracle,
        n_test_left_out=0 if cell.test_on else None,
        steps=60,
        image_passes=60 * 128,
        parameters=1_234_567,
    )


def make_record(cell: Cell, predictions: Predictions, history: list[EpochRow], **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "status": "ok",
        "result": make_result(cell, predictions, history),
        "cell": cell,
        "cell_id": cell.cell_id,
        "standard": not cell.overrides,
        "config": RecordConfig(protocol={"steps": 60}, method={"threshold": 0.95}),
        "measured": Measured(started_at="2026-01-01T00:00:00+00:00", wall_seconds=90.0 + cell.seed, device="cpu"),
        "plugin": STAMP,
        "plugins": {"dataset": STAMP},
        "engine_version": 1,
        "environment": {"python": "3.11.7"},
    }
    return Record(**{**fields, **changes})


def write_record(root: Path, cell: Cell, skill: float = 2.0, **changes: Any) -> Path:
    """A whole, valid cell below `root`: predictions, history, record. Returns the path of record.json."""
    predictions = make_predictions(skill, cell.seed)
    history = make_history()
    record = make_record(cell, predictions, history, **changes)
    return RunStore(root).write_result(cell, record, predictions, history)


def write_failure(root: Path, cell: Cell, message: str = "loss is not finite", status: str = "diverged") -> Path:
    """A cell that ended without a result."""
    error = ErrorReport(type="DivergedError", message=message, step=17, term="unlabeled")
    record = make_record(cell, make_predictions(), make_history(), status=status, result=None, error=error)
    return RunStore(root).write_result(cell, record)
