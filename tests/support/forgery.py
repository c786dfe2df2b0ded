"""Records that somebody has changed, with every digest and number that follows from the change recomputed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ferbench.records.cell import Cell
from ferbench.records.history import HISTORY, history_digest, parse_history
from ferbench.records.metrics import HEADLINES, evaluate
from ferbench.records.predictions import Predictions, labeled_fingerprint
from ferbench.records.store import PREDICTIONS, RECORD, read_predictions

Fields = dict[str, Any]
Change = Callable[[Fields], None]
Rows = list[dict[str, Any]]


def change(path: Path, edit: Change) -> None:
    """Edit the fields of a record, and nothing else."""
    fields = json.loads(path.read_text())
    edit(fields)
    path.write_text(json.dumps(fields))


def move(path: Path, edit: Change, keep: bool = False) -> Path:
    """Give a record another cell, with its id and in its folder; `keep` leaves the old one where it is."""
    fields = json.loads(path.read_text())
    root = path.parents[len(Cell.model_validate(fields["cell"]).folder().parts)]
    edit(fields)
    cell = Cell.model_validate(fields["cell"])
    fields["cell_id"] = cell.cell_id
    target = root / cell.folder()
    target.mkdir(parents=True, exist_ok=True)
    for name in (PREDICTIONS, HISTORY):
        (target / name).write_bytes((path.parent / name).read_bytes())
        if not keep:
            (path.parent / name).unlink()
    if not keep:
        path.unlink()
    (target / RECORD).write_text(json.dumps(fields))
    return target / RECORD


def score(path: Path, edit: Callable[[Predictions], Predictions], test: bool = False) -> None:
    """Replace predictions, and metrics, confusion, digest and oracle with them; with `test` the fingerprint too."""
    predictions = edit(read_predictions(path.parent / PREDICTIONS))
    (path.parent / PREDICTIONS).write_bytes(predictions.to_parquet())

    def scored(fields: Fields) -> None:
        result = fields["result"]
        metrics, confusion = evaluate(predictions.logits, predictions.labels, result["class_names"])
        stored = {key: value for key, value in metrics.model_dump().items() if key in result["metrics"]}
        result |= {"metrics": stored, "confusion": confusion, "predictions_digest": predictions.digest()}
        result["n_test"] = len(predictions.ids)
        for metric in HEADLINES:
            result["oracle"][metric.key] = max(result["oracle"][metric.key], stored[metric.key])
        if test:
            names = [result["class_names"][label] for label in predictions.labels]
            result["fingerprints"]["test"] = labeled_fingerprint(predictions.ids, names)

    change(path, scored)


def tell(path: Path, edit: Callable[[Rows], Rows] = lambda rows: rows) -> None:
    """Replace the history, its digest, and the last evaluation and the oracle so that they fit."""
    rows = edit(json.loads((path.parent / HISTORY).read_text()))
    metrics = json.loads(path.read_text())["result"]["metrics"]
    if rows and "evaluation" in rows[-1]:
        rows[-1]["evaluation"] = {metric.key: metrics[metric.key] for metric in HEADLINES}
    (path.parent / HISTORY).write_text(json.dumps(rows))
    evaluations = [(row["evaluation"], row["step"]) for row in rows if row.get("evaluation")]

    def told(fields: Fields) -> None:
        result = fields["result"]
        result["history_digest"] = history_digest(parse_history(rows, "here"))
        if evaluations:
            extra = rows[-1]["step"] - result["steps"]
            best, step = max(evaluations, key=lambda each: (each[0]["accuracy"], -each[1]))
            result["oracle"] = {**best, "step": step - extra, "evaluations": len(evaluations)}

    change(path, told)


def corrected(predictions: Predictions, share: float = 1.0) -> Predictions:
    """The same where a share of the wrong images have the logits of the true class and the predicted one swapped."""
    logits = predictions.logits.copy()
    guess = logits.argmax(axis=1)
    wrong = np.flatnonzero(guess != predictions.labels)
    for row in wrong[: round(share * len(wrong))]:
        true, said = predictions.labels[row], guess[row]
        logits[row, [true, said]] = logits[row, [said, true]]
    return Predictions(predictions.ids, predictions.labels, logits)
