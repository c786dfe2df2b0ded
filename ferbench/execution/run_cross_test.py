"""A trained cell tested on another dataset: no training, the model of its base cell, the classes of both."""

from pathlib import Path

from ferbench.cells.select import CellData
from ferbench.contract.backbone import Network
from ferbench.contract.events import EpochRow, Notice
from ferbench.data.load.image_set import image_set
from ferbench.data.load.views import ViewMaker
from ferbench.data.select.cross_test import CrossTest
from ferbench.errors import UsageError
from ferbench.execution.build import build_method, build_network, method_info, view_maker
from ferbench.execution.record_builder import RecordBuilder, finished_record
from ferbench.records.history import history_digest
from ferbench.records.metrics import evaluate
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Record, Result
from ferbench.records.store import RunStore
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.model_file import MODEL, load_model
from ferbench.training.run import Events


def run_cross_test(
    builder: RecordBuilder, data: CellData, test: CrossTest, store: RunStore, folder: Path, events: Events
) -> Record:
    """Test the model of the base cell on another dataset; nothing is trained."""
    resolved, cell, base = builder.resolved, builder.resolved.cell, builder.resolved.base
    trained = finished_record(store, base, data.trained, executor=builder.job.executor)
    if trained is None or trained.result is None:
        raise UsageError(f"{store.folder(base.cell)} has no finished record, whose model would be tested; run it first")
    builder.tested = trained
    done = finished_record(store, resolved, data.fingerprints, trained, builder.job.executor)
    if done is not None:
        return done
    for text in test.notes():
        events(Notice(text=f"'{cell.test_on}' {text}"))
    resolved.registry.notify("ferbench_run_started", cell=cell, folder=folder)
    images = image_set(test.images, test.rows, test.class_names, builder.device)
    net, maker = _trained_net(builder, trained.result, store.folder(base.cell) / MODEL)
    shared = [resolved.class_names.index(name) for name in test.class_names]
    logits = logits_of(net, images, maker, resolved.recipe.evaluation_batch)[:, shared]
    predictions = Predictions(list(images.ids), images.labels.cpu().numpy(), stored_logits(logits))
    metrics, confusion = evaluate(predictions.logits, predictions.labels, test.class_names)
    history: list[EpochRow] = []
    result = trained.result.model_copy(
        update={
            "class_names": list(test.class_names),
            "metrics": metrics,
            "confusion": confusion,
            "n_test": len(images),
            "n_test_left_out": test.near_duplicates,
            "fingerprints": data.fingerprints,
            "predictions_digest": predictions.digest(),
            "history_digest": history_digest(history),
            "oracle": None,
        }
    )
    record = builder.record("ok", result)
    store.write_result(cell, record, predictions, history)
    return record


def _trained_net(builder: RecordBuilder, trained: Result, path: Path) -> tuple[Network, ViewMaker]:
    """The evaluated net of a finished cell from its file, and what makes its images."""
    resolved, device = builder.resolved.base, builder.device
    init = builder.initial_weights()
    net = build_network(resolved, init, device)
    info = method_info(resolved, net, trained.n_labeled, trained.n_unlabeled, trained.labeled_counts)
    method, _ = build_method(resolved, net, info, init, device)
    load_model(method.evaluation_net(), path, trained.model_digest)
    return method.evaluation_net(), view_maker(resolved, net, device)
