"""Join labels with a trainer's outputs: scores, precision of pseudo-labels, oracle. No method code runs here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.cells.resolve import ResolvedCell
from ferbench.cells.select import CellData
from ferbench.contract.events import EpochRow
from ferbench.contract.protocol import Headline
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.cross_test import CrossTest
from ferbench.execution.handover import LOGITS, Trained
from ferbench.execution.rows import TrainingRows
from ferbench.execution.smoothing import smoothed, tracks_of
from ferbench.records.files import file_digest
from ferbench.records.history import history_digest
from ferbench.records.in_progress import said_file
from ferbench.records.metrics import HEADLINES, evaluate
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Oracle, Result
from ferbench.records.store import MODEL
from ferbench.records.tensor_files import read_arrays


@dataclass(frozen=True)
class Joined:
    """The files that are written with a record that has a result."""

    result: Result
    predictions: Predictions
    history: list[EpochRow]


def trained_result(
    resolved: ResolvedCell,
    data: CellData,
    chosen: TrainingRows,
    trained: Trained,
    folder: Path,
    order: NDArray[np.int64],
) -> Joined:
    """The result of a trained cell. `order` holds the positions of the test images in the trainer's order."""
    names, selection, second = resolved.class_names, data.selection, data.relabeled
    evaluations = list(own_predictions(resolved, data, np.load(folder / LOGITS), order))
    predictions = evaluations[-1]
    metrics, confusion = evaluate(predictions.logits, predictions.labels, names)
    scores = {epoch: _headlines(found, names) for epoch, found in zip(trained.evaluated, evaluations, strict=True)}
    history = [_joined_row(row, chosen, trained, scores, folder, len(names)) for row in trained.history]
    result = Result(
        class_names=list(names),
        metrics=metrics,
        confusion=confusion,
        n_test=len(selection.test),
        n_labeled=len(selection.labeled),
        n_validation=len(selection.validation) or None,
        n_relabeled=len(set(second.labeled) - set(selection.labeled)) if second else None,
        n_unlabeled=chosen.n_unlabeled,
        n_near_duplicates=data.pool.near_duplicates if data.pool else None,
        labeled_counts=selection.labeled_counts,
        fingerprints=data.fingerprints,
        predictions_digest=predictions.digest(),
        history_digest=history_digest(history),
        model_digest=file_digest(folder / MODEL),
        oracle=_oracle(history, trained, resolved.protocol.headline),
        steps=resolved.recipe.steps,
        image_passes=trained.image_passes,
        forward_images=trained.forward_images,
        optimizer_steps=trained.optimizer_steps,
        parameters=trained.parameters,
    )
    return Joined(result, predictions, history)


def cross_test_result(
    resolved: ResolvedCell, data: CellData, test: CrossTest, trained: Result, folder: Path, order: NDArray[np.int64]
) -> Joined:
    """The result of a model tested on another dataset. Only the logits of classes that both datasets have are used."""
    predictions = cross_predictions(resolved, test, np.load(folder / LOGITS)[-1], order)
    metrics, confusion = evaluate(predictions.logits, predictions.labels, test.class_names)
    update = {
        "class_names": list(test.class_names),
        "metrics": metrics,
        "confusion": confusion,
        "n_test": len(test.rows),
        "n_test_left_out": test.near_duplicates,
        "fingerprints": data.fingerprints,
        "predictions_digest": predictions.digest(),
        "history_digest": history_digest([]),
        "oracle": None,
    }
    return Joined(trained.model_copy(update=update), predictions, [])


def own_predictions(
    resolved: ResolvedCell, data: CellData, evaluations: Iterable[NDArray[np.float16]], order: NDArray[np.int64]
) -> Iterator[Predictions]:
    """Each evaluation (N, C) of the test split, in a trainer's order, as predictions by the protocol's rules."""
    rows, window = data.selection.test, resolved.protocol.temporal_window
    tracks = tracks_of(data.images, rows) if window else []
    for logits in evaluations:
        found = _predictions(data.images, rows, resolved.class_names, logits, order)
        yield replace(found, logits=smoothed(found.logits, tracks, window)) if window else found


def cross_predictions(
    resolved: ResolvedCell, test: CrossTest, logits: NDArray[np.float16], order: NDArray[np.int64]
) -> Predictions:
    """Logits (N, C) for images of another dataset, as predictions of the classes that both datasets have."""
    shared = [resolved.class_names.index(name) for name in test.class_names]
    return _predictions(test.images, test.rows, test.class_names, logits[:, shared], order)


def _predictions(
    images: ImageStore, rows: Sequence[int], names: Sequence[str], logits: NDArray[np.float16], order: NDArray[np.int64]
) -> Predictions:
    """Logits in the hashed order of the trainer, as predictions in the order of the rows."""
    ordered = np.empty_like(logits)
    ordered[order] = logits
    return Predictions([images.ids[row] for row in rows], images.label_positions(rows, names), ordered)


def _headlines(predictions: Predictions, names: Sequence[str]) -> dict[str, float]:
    metrics, _ = evaluate(predictions.logits, predictions.labels, names)
    return {metric.key: getattr(metrics, metric.key) for metric in HEADLINES}


def _joined_row(
    row: EpochRow,
    chosen: TrainingRows,
    trained: Trained,
    scores: Mapping[int, dict[str, float]],
    folder: Path,
    n_classes: int,
) -> EpochRow:
    more: dict[str, Any] = {"evaluation": scores[row.epoch]} if row.epoch in scores else {}
    if row.mask_rate is not None:
        truth = chosen.hidden.get(trained.data[row.stage])
        more |= precision(read_arrays(said_file(folder, row.epoch)), truth, n_classes)
    return row.model_copy(update=more)


def precision(said: Mapping[str, NDArray[Any]], truth: NDArray[np.int64] | None, n_classes: int) -> dict[str, Any]:
    """Return the precision of the pseudo-labels, for images with a known label."""
    pseudo, mask = said["pseudo_label"].astype(np.int64), said["mask"].astype(np.float64)
    true = np.full(len(pseudo), -1) if truth is None else truth[said["number"]]
    known = (true >= 0) & (pseudo >= 0) & (pseudo < n_classes)
    used, right = (np.bincount(pseudo[which], mask[which], n_classes) for which in (known, known & (true == pseudo)))
    return {
        "pseudo_label_precision": _ratio(right.sum(), used.sum()),
        "pseudo_label_precision_per_class": [_ratio(part, whole) for part, whole in zip(right, used, strict=True)],
        "pseudo_label_accuracy": _ratio((known & (true == pseudo)).sum(), known.sum()),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _oracle(history: Sequence[EpochRow], trained: Trained, headline: Headline) -> Oracle:
    found = [(row.evaluation, row.step) for row in history if row.evaluation is not None]
    metrics, step = max(found, key=lambda evaluation: (evaluation[0][headline], -evaluation[1]))
    return Oracle(**metrics, step=step - trained.evaluations_begin, evaluations=len(found))
