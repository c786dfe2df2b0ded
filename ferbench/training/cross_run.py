"""A trained cell tested on another data set: no training, the model of its base cell, the classes of both."""

from pathlib import Path

from ferbench.contract.backbone import Network
from ferbench.contract.dataset import Dataset
from ferbench.data.batches import ViewMaker
from ferbench.errors import UsageError
from ferbench.plugins import registry
from ferbench.records.cell import digest
from ferbench.records.metrics import evaluate
from ferbench.records.schema import Record, Result
from ferbench.records.store import Predictions, RunStore
from ferbench.training.attempt import Attempt, finished_record
from ferbench.training.engine import Events
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.model_file import MODEL, load_model
from ferbench.training.task import build_method, build_network, cross_test_of, method_info, split_of


def evaluate_elsewhere(attempt: Attempt, other: Dataset, store: RunStore, folder: Path, events: Events) -> Record:
    """Test the model of the base cell on another data set; nothing is trained."""
    resolved, cell, base = attempt.resolved, attempt.resolved.cell, attempt.resolved.base
    split, test = split_of(base), cross_test_of(base, other)
    trained = finished_record(store, base, split.fingerprints)
    if trained is None or trained.result is None:
        raise UsageError(f"{store.folder(base.cell)} has no finished record, whose model would be tested; run it first")
    fingerprints = test.fingerprints(split.fingerprints)
    if (done := finished_record(store, resolved, fingerprints, trained)) is not None:
        return done
    for text in test.notes():
        events({"kind": "notice", "text": f"'{cell.test_on}' {text}"})
    registry().notify("ferbench_run_started", cell=dict(attempt.job.cell), folder=folder)
    pool = test.packed.pool(test.rows, test.class_names, attempt.device)
    net, maker = _trained_net(attempt, trained.result, store.folder(base.cell) / MODEL)
    shared = [resolved.class_names.index(name) for name in test.class_names]
    logits = logits_of(net, pool, maker, resolved.recipe.evaluation_batch)[:, shared]
    predictions = Predictions(list(pool.ids), pool.labels.cpu().numpy(), stored_logits(logits))
    metrics, confusion = evaluate(predictions.logits, predictions.labels, test.class_names)
    history: list[dict[str, object]] = []
    result = trained.result.model_copy(
        update={
            "class_names": list(test.class_names),
            "metrics": metrics,
            "confusion": confusion,
            "n_test": len(pool),
            "n_test_left_out": test.near_duplicates,
            "fingerprints": fingerprints,
            "predictions_digest": predictions.digest(),
            "history_digest": digest(history),
            "oracle": None,
        }
    )
    record = attempt.record("ok", result)
    store.write_result(cell, record, predictions, history)
    return record


def _trained_net(attempt: Attempt, trained: Result, path: Path) -> tuple[Network, ViewMaker]:
    """The evaluated net of a finished cell from its file, and what makes its images."""
    resolved, device = attempt.resolved.base, attempt.device
    net = build_network(resolved, attempt.initial_weights(), device)
    info = method_info(resolved, net, trained.n_labeled, trained.n_unlabeled, trained.labeled_counts)
    method, _ = build_method(resolved, net, info, device)
    load_model(method.evaluation_net(), path, trained.model_digest)
    return method.evaluation_net(), ViewMaker(resolved.recipe, net.backbone.mean, net.backbone.std, device)
