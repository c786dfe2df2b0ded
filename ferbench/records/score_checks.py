"""Check the scores of a record against its test predictions or, as far as possible, against logits without labels."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ferbench.errors import VerificationError
from ferbench.records.checks import RecordCheck, differences, passed
from ferbench.records.metrics import outcome_of
from ferbench.records.predictions import Predictions, labeled_fingerprint
from ferbench.records.publication import PUBLISHED, PublishedLogits, is_published, join, read_published
from ferbench.records.schema import Result
from ferbench.records.split_checks import Recomputed
from ferbench.records.store import PREDICTIONS, read_predictions

SCORES = "predictions"
"""Name of the check of the test predictions; it is unchecked if they have no labels here."""
WITH_DATA = "run `ferbench prepare` on a copy of the dataset, and verify again"

# The records of a board share a few test splits, and sorting one takes half of the time to check a record.
_test_fingerprint = lru_cache(maxsize=8)(labeled_fingerprint)


def score_checks(
    folder: Path, result: Result, recomputed: Recomputed | None
) -> tuple[list[RecordCheck], Predictions | PublishedLogits | None]:
    """Check the stored predictions, or the published logits after joining them with the tests of the data, if any.

    Returns the checks, and the predictions or logits (None if they cannot be read).
    """
    try:
        if not is_published(folder):
            predictions = read_predictions(folder / PREDICTIONS)
            return list(_predictions(predictions, result)), predictions
        logits = read_published(folder / PUBLISHED)
    except VerificationError as error:
        return [RecordCheck(SCORES, "failed", str(error))], None
    checks = [passed("published logits", _published_problems(logits, result))]
    if checks[0].state == "failed":
        return checks, None
    if recomputed is None or not recomputed.tests:
        return [*checks, _not_joined("the data is not on this machine")], logits
    if recomputed.values.get("test") != result.fingerprints.test:
        return [*checks, _not_joined("the data on this machine has other test images or labels")], logits
    try:
        return [*checks, *_predictions(join(logits, recomputed.tests, result), result)], logits
    except VerificationError as error:
        return [*checks, RecordCheck(SCORES, "failed", str(error))], logits


def checked_predictions(folder: Path, result: Result, tests: Sequence[tuple[str, str]]) -> Predictions:
    """Return the stored predictions, or the published logits with the labels of `tests` (id and class).

    Raises VerificationError if they cannot be read, or if joined ones contradict the record.
    """
    if not is_published(folder):
        return read_predictions(folder / PREDICTIONS)
    joined = join(read_published(folder / PUBLISHED), tests, result)
    if failed := [check for check in _predictions(joined, result) if check.state == "failed"]:
        raise VerificationError("; ".join(f"{check.name}: {check.detail}" for check in failed))
    return joined


def _not_joined(why: str) -> RecordCheck:
    return RecordCheck(SCORES, "unchecked", f"labels are licensed, and {why}", WITH_DATA)


def _predictions(predictions: Predictions, result: Result) -> Iterator[RecordCheck]:
    yield passed(SCORES, _prediction_problems(predictions, result))
    try:
        outcome = outcome_of(predictions.logits, predictions.labels, len(result.class_names))
    except ValueError as error:
        yield RecordCheck("recomputed metrics", "failed", str(error))
        return
    problems = differences(result, outcome, source="the predictions file")
    if outcome.confusion.tolist() != result.confusion:
        problems.append("the confusion matrix differs from that of the predictions file")
    yield passed("recomputed metrics", problems)
    names = tuple(result.class_names[label] for label in predictions.labels)
    tied = result.fingerprints.test == _test_fingerprint(tuple(predictions.ids), names)
    yield passed("test labels", [] if tied else ["ids and labels of the predictions do not match the test split"])


def _prediction_problems(predictions: Predictions, result: Result) -> list[str]:
    problems = []
    if predictions.digest() != result.predictions_digest:
        problems.append("their digest differs from the recorded one")
    if len(predictions.ids) != result.n_test:
        problems.append(f"they have {len(predictions.ids)} rows, not n_test = {result.n_test}")
    if len(set(predictions.ids)) != len(predictions.ids):
        problems.append("a test image occurs twice")
    return problems


def _published_problems(logits: PublishedLogits, result: Result) -> list[str]:
    """Return the problems of logits without labels, such as classes predicted more or less often than recorded."""
    if logits.logits.shape != (result.n_test, len(result.class_names)):
        return [
            f"logits have shape {logits.logits.shape}, but there are {result.n_test} images and "
            f"{len(result.class_names)} classes"
        ]
    if not np.isfinite(logits.logits).all():
        return ["logits contain NaN or infinity"]
    if len(set(logits.ids)) != len(logits.ids):
        return ["a test image occurs twice"]
    predicted = np.bincount(logits.logits.argmax(axis=1), minlength=len(result.class_names))
    same = predicted.tolist() == np.sum(result.confusion, axis=0).tolist()
    return [] if same else ["the number of predictions per class differs from the confusion matrix"]
