"""Records that hold and are not true."""

from pathlib import Path

import numpy as np

from ferbench.records.cell import Cell
from ferbench.records.history import HISTORY, history_digest, read_history
from ferbench.records.metrics import HEADLINES, evaluate
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Oracle, Record
from ferbench.records.store import PREDICTIONS, RunStore, read_predictions, read_record


def all_right(root: Path, record: Path) -> Path:
    """A copy of a record below `root` whose predictions are all right, and with them everything that follows."""
    found, logits = read_record(record), read_predictions(record.parent / PREDICTIONS).logits.copy()
    predictions = read_predictions(record.parent / PREDICTIONS)
    rows, said = np.arange(len(logits)), logits.argmax(axis=1)
    logits[rows, said], logits[rows, predictions.labels] = logits[rows, predictions.labels], logits[rows, said]
    return _written(root, found, Predictions(predictions.ids, predictions.labels, logits), record)


def with_fewer_labels(root: Path, record: Path, honest: Path) -> Path:
    """A copy of a record below `root` that says it is of the cell of an honest one, which has fewer labels."""
    found, other = read_record(record), read_record(honest)
    assert found.result is not None and other.result is not None
    names = ("n_labeled", "labeled_counts", "n_unlabeled", "fingerprints")
    result = found.result.model_copy(update={name: getattr(other.result, name) for name in names})
    cell: Cell = other.cell
    said = found.model_copy(update={"cell": cell, "cell_id": cell.cell_id, "result": result})
    return _written(root, said, read_predictions(record.parent / PREDICTIONS), record)


def _written(root: Path, record: Record, predictions: Predictions, source: Path) -> Path:
    assert record.result is not None
    metrics, confusion = evaluate(predictions.logits, predictions.labels, record.result.class_names)
    headlines = {metric.key: getattr(metrics, metric.key) for metric in HEADLINES}
    *before, last = read_history(source.parent / HISTORY)
    history = [*before, last.model_copy(update={"evaluation": headlines})]
    evaluated = [(row.evaluation[record.headline], -row.step, row) for row in history if row.evaluation]
    _, _, best = max(evaluated, key=lambda each: each[:2])
    update = {
        "metrics": metrics,
        "confusion": confusion,
        "predictions_digest": predictions.digest(),
        "history_digest": history_digest(history),
        "oracle": Oracle(**(best.evaluation or {}), step=best.step, evaluations=len(evaluated)),
    }
    made = record.model_copy(update={"result": record.result.model_copy(update=update)})
    return RunStore(root).write_result(made.cell, made, predictions, history)
