"""A model tested on another set: its file, the restricted logits, and when it has to be trained again."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from ferbench.builtin.backbones.small_resnet import build
from ferbench.cells.request import RunRequest
from ferbench.contract.backbone import BackboneRequest, Network
from ferbench.contract.dataset import EIGHT_CLASSES
from ferbench.contract.events import Event, Notice
from ferbench.contract.head import LinearHead
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.record_builder import has_model
from ferbench.execution.run_cell import run_cell
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.schema import Record
from ferbench.records.store import MODEL, RunStore, is_model, read_predictions
from ferbench.training.model_file import load_tensors, model_bytes
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.support.refusals import refused

SIX = ("anger", "sadness", "fear", "neutral", "disgust", "surprise")
Plan = Callable[..., list[PlannedCell]]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set of eight classes, of which three are trained, and one of six, of which two are; both in other orders."""
    folder = tmp_path_factory.mktemp("others")
    return {
        "eight": write_pattern_set(folder / "eight", name="eight", classes=EIGHT_CLASSES[::-1], n_test=80, seed=3),
        "six": write_pattern_set(folder / "six", name="six", classes=SIX, n_test=60, seed=4),
    }


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def plan(patterns: Path, others: dict[str, Path], store: RunStore) -> Plan:
    def make(*test_on: str, **settings: Any) -> list[PlannedCell]:
        small = {"steps": 20, "image_size": 16, "labeled_batch": 6, "unlabeled_batch": 8}
        request = RunRequest(
            methods=["fixmatch"],
            datasets=[str(patterns)],
            ratios=["0.1"],
            backbones=["small-resnet/4"],
            overrides={**small, **settings},
            runs=store.root,
            device="cpu",
            test_on=[str(others[name]) for name in test_on],
        )
        return make_plan(request, load_registry())

    return make


def run(item: PlannedCell) -> tuple[Record, list[str]]:
    """The record of a cell, and what was said while it ran."""
    notices: list[str] = []

    def listen(event: Event) -> None:
        notices.append(event.text if isinstance(event, Notice) else event.kind)

    return run_cell(item.job, load_registry(), listen, lambda: None), notices


def forward(model: Path, images: list[bytes]) -> np.ndarray:
    """Logits of all trained classes, from the file's tensors and images as PIL reads them."""
    net = Network(build(BackboneRequest("4", 16)), LinearHead(build(BackboneRequest("4", 16)).feature_size, 3))
    net.load_state_dict(load_file(model))
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
    normalised = torch.from_numpy((pixels / 255 - 0.5) / 0.25).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        return net.eval()(normalised).logits.numpy()


def test_logits_are_restricted_to_the_shared_classes(plan: Plan, others: dict[str, Path], store: RunStore) -> None:
    base, *tests = plan("eight", "six")
    trained, _ = run(base)
    assert trained.result is not None
    folder = store.folder(base.cell)
    for item, names in zip(tests, (list(CLASSES), ["neutral", "sadness"]), strict=True):
        record, said = run(item)
        assert said == []
        result = record.result
        assert result is not None
        assert (record.status, record.cell.base, result.class_names) == ("ok", base.cell, names)
        samples = [s for s in ParquetDataset(others[str(record.cell.test_on)]).samples() if s.split == "test"]
        samples = sorted((s for s in samples if s.label in names), key=lambda s: s.id)
        full = forward(folder / MODEL, [bytes(s.image) for s in samples])
        logits = full[:, [CLASSES.index(name) for name in names]]
        stored = read_predictions(store.folder(item.cell) / "predictions.parquet")
        assert stored.ids == [s.id for s in samples]
        np.testing.assert_allclose(stored.logits.astype(float), logits, rtol=2e-3, atol=2e-3)

        truth = [names.index(str(s.label)) for s in samples]
        said_class = stored.logits.argmax(1)
        metrics = result.metrics
        assert stored.labels.tolist() == truth
        assert metrics.accuracy == pytest.approx(accuracy_score(truth, said_class))
        assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, said_class))
        assert metrics.macro_f1 == pytest.approx(f1_score(truth, said_class, average="macro"))
        assert result.confusion == confusion_matrix(truth, said_class).tolist()
        sure = softmax(stored.logits.astype(float), axis=1).max(1)  # over the shared classes alone
        gaps = [
            abs((said_class == truth)[part].sum() - sure[part].sum())
            for part in ((np.ceil(sure * 15) == bin) for bin in range(1, 16))
        ]
        assert metrics.ece == pytest.approx(sum(gaps) / len(truth))

        assert (result.oracle, result.n_test, result.n_test_left_out) == (None, len(truth), 0)
        same = ("model_digest", "n_labeled", "n_unlabeled", "labeled_counts", "steps", "image_passes", "parameters")
        assert [getattr(result, name) for name in same] == [getattr(trained.result, name) for name in same]
        assert result.fingerprints.labeled == trained.result.fingerprints.labeled


@pytest.mark.slow
def test_one_training_serves_all_tests_and_later_ones(plan: Plan, store: RunStore) -> None:
    (base,) = plan()
    run(base)
    record = (store.folder(base.cell) / "record.json").read_bytes()
    before, test = plan("eight")
    assert (before.cached, before.job.needs_model, test.cached) == (True, True, False)
    run(test)
    assert [item.cached for item in plan("eight")] == [True, True]
    assert [item.cached for item in plan("eight", "six")] == [True, True, False]
    assert run(plan("eight")[1])[1] == [], "its record stands"

    model = store.folder(base.cell) / MODEL
    content = model.read_bytes()
    model.write_bytes(content[:-1] + b"x")
    assert [item.cached for item in plan("eight")] == [True, True], "a test that is done needs no model"
    again, _, later = plan("eight", "six")
    assert (again.cached, again.job.needs_model, later.cached) == (False, True, False)
    failed, _ = run(later)
    assert failed.error is not None
    assert "not the model of the record beside it; run its cell again" in failed.error.message
    _, said = run(again)
    assert said[0] == "the model of its record is missing or has changed; it is trained again"
    assert model.read_bytes() == content
    assert (store.folder(base.cell) / "record.json").read_bytes() == record, "the same result, bit for bit"
    assert run(later)[0].status == "ok"


def test_a_finished_record_outlives_a_training_for_its_model_that_fails(
    plan: Plan, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base,) = plan()
    run(base)
    (store.folder(base.cell) / MODEL).unlink()
    record = (store.folder(base.cell) / "record.json").read_bytes()
    monkeypatch.setattr("ferbench.execution.train_cell.train", lambda training: 1 / 0)
    again, test = plan("eight")
    assert run(again)[0].status == "failed"
    assert (store.folder(base.cell) / "record.json").read_bytes() == record
    assert store.is_done(base.cell)
    assert run(test)[0].status == "failed"


def test_a_test_is_missing_once_its_base_is_another(plan: Plan, store: RunStore) -> None:
    base, test = plan("six")
    assert (base.cached, base.job.needs_model, test.cached) == (False, True, False)
    untrained, _ = run(test)
    assert untrained.error is not None
    assert "has no finished record, whose model would be tested; run it first" in untrained.error.message
    trained, _ = run(base)
    run(test)
    assert trained.result is not None
    changed = trained.result.model_copy(update={"model_digest": "0" * 64})
    path = store.folder(base.cell) / "record.json"
    path.write_bytes(trained.model_copy(update={"result": changed}).to_json())
    assert [item.cached for item in plan("six")] == [False, False]


def test_a_model_is_known_by_its_bytes(tmp_path: Path, store: RunStore) -> None:
    path, net, other = tmp_path / MODEL, torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    content = model_bytes(net, ["neutral", "fear"])
    digest = hashlib.sha256(content).hexdigest()
    assert not is_model(path, digest)
    assert not has_model(store, None)
    path.write_bytes(content)
    assert is_model(path, digest)
    load_tensors(other, path, digest)
    assert torch.equal(other.weight, net.weight)
    with refused(DataError, "model.safetensors", "run its cell again"):
        load_tensors(torch.nn.Linear(4, 2), path, digest)
    with pytest.raises(DataError, match="not the model of the record"):
        load_tensors(other, path, "0" * 64)
