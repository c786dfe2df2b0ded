"""Records of licensed sets: what others may read of them, and that whoever holds the data can check all of it."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ferbench.discovery.loader import builtin_protocols
from ferbench.errors import VerificationError
from ferbench.records.agreement import Board, verify_all
from ferbench.records.cell import Cell
from ferbench.records.known import Known, KnownDataset, PinnedSplit, Pins, split_key
from ferbench.records.publication import PublishedLogits, publish, read_published
from ferbench.records.schema import Fingerprints
from ferbench.records.score_checks import checked_predictions
from ferbench.records.split_checks import Recomputed
from ferbench.records.store import read_predictions, read_record
from ferbench.records.verification import Verification, verify_record
from tests.unit.records.factory import CLASS_NAMES, make_cell, make_predictions, write_failure, write_record

PROTOCOLS = builtin_protocols()


def known(publishes: bool) -> Known:
    dataset = KnownDataset("default", {"7": tuple(CLASS_NAMES)}, publishes)
    return Known(lambda name: dataset if name == "raf-db" else None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_record(tmp_path / "runs", make_cell(dataset="raf-db"))


@pytest.fixture
def published(path: Path, tmp_path: Path) -> Path:
    """The record as it is published."""
    out = tmp_path / "records" / make_cell(dataset="raf-db").folder()
    assert publish(path.parent, out, known(False)) == ("logits.parquet", "history.json", "record.json")
    return out / "record.json"


def held(path: Path) -> Recomputed:
    """What the data gives for the record, on a machine that holds it."""
    predictions, record = read_predictions(path.parent / "predictions.parquet"), read_record(path)
    assert record.result is not None
    tests = [(image, CLASS_NAMES[label]) for image, label in zip(predictions.ids, predictions.labels, strict=True)]
    return Recomputed(record.result.fingerprints.by_name(), {}, {}, tests)


def verify(path: Path, data: Recomputed | None = None, pins: Known | None = None) -> Verification:
    def recompute(cell: Cell, recorded: Fingerprints) -> Recomputed:
        return data or Recomputed({}, dict.fromkeys(recorded.by_name(), "not prepared here"))

    return verify_record(path, PROTOCOLS, recompute, pins or Known())


def pinned(path: Path) -> Known:
    """What a board knows that has pinned the split of the record."""
    record = read_record(path)
    assert record.result is not None
    split = PinnedSplit(fingerprints=record.result.fingerprints.by_name(), counts={})
    data = record.result.fingerprints.data
    pins = Pins(command="", dataset="raf-db", data=data, splits={split_key(record.cell): split})
    return Known(pins={"raf-db": pins})


def test_no_label_and_no_id_is_published(path: Path, published: Path) -> None:
    assert sorted(file.name for file in published.parent.iterdir()) == ["history.json", "logits.parquet", "record.json"]
    table = pq.read_table(published.parent / "logits.parquet")
    assert table.column_names == ["id", "logits"]
    ids = table["id"].to_pylist()
    assert ids == sorted(ids)
    true = read_predictions(path.parent / "predictions.parquet")
    bytes_ = b"".join(file.read_bytes() for file in published.parent.iterdir())
    assert not any(image.encode() in bytes_ for image in true.ids)
    assert len(set(ids)) == 210


def test_the_record_is_published_byte_for_byte(path: Path, published: Path) -> None:
    assert published.read_bytes() == path.read_bytes()


def test_equal_ids_of_two_records_are_published_as_others(tmp_path: Path, published: Path) -> None:
    other = write_record(tmp_path / "runs", make_cell(dataset="raf-db", seed=1))
    publish(other.parent, tmp_path / "other", known(False))
    one, two = (read_published(folder / "logits.parquet") for folder in (published.parent, tmp_path / "other"))
    assert not set(one.ids) & set(two.ids)


def test_without_the_data_it_is_consistent_and_says_that_the_data_is_not_held(published: Path) -> None:
    found = verify(published)
    assert found.verdict.level == "consistent (data not held)", found.failures
    assert any(note.startswith("predictions: labels are licensed") for note in found.verdict.notes)


def test_with_the_data_every_number_is_checked(path: Path, published: Path) -> None:
    found = verify(published, held(path))
    assert found.verdict.level == "consistent", found.failures
    names = {check.name for check in found.checks if check.state == "verified"}
    assert {"published logits", "predictions", "recomputed metrics", "test labels", "split"} <= names


def test_better_numbers_are_caught_by_who_holds_the_data(path: Path, published: Path) -> None:
    logits = read_published(published.parent / "logits.parquet")
    swapped = PublishedLogits(logits.ids, logits.logits[::-1])
    (published.parent / "logits.parquet").write_bytes(swapped.to_parquet())
    assert verify(published).holds  # each class is predicted as often as before
    names = {check.name for check in verify(published, held(path)).failures}
    assert {"predictions", "recomputed metrics"} <= names


def test_a_pinned_split_does_not_replace_the_labels(path: Path, published: Path) -> None:
    """Every fingerprint is pinned, but a pin has no labels: only the data can say which predictions are right."""
    assert verify(path, pins=pinned(path)).verdict.level == "consistent"
    assert verify(published, pins=pinned(path)).verdict.level == "consistent (data not held)"
    found = verify(published, held(path), pinned(path))
    assert found.verdict.level == "consistent", found.failures
    logits = read_published(published.parent / "logits.parquet")
    swapped = PublishedLogits(logits.ids, logits.logits[::-1])
    (published.parent / "logits.parquet").write_bytes(swapped.to_parquet())
    assert verify(published, pins=pinned(path)).verdict.level == "consistent (data not held)"
    names = {check.name for check in verify(published, held(path), pinned(path)).failures}
    assert {"predictions", "recomputed metrics"} <= names


def test_another_version_of_the_data_refutes_no_pinned_record(path: Path, published: Path) -> None:
    data = held(path)
    others = Recomputed({**data.values, "data": "0" * 64, "test": "0" * 64}, {}, {}, [("x", "fear"), *data.tests[1:]])
    found = verify(published, others, pinned(path))
    assert found.verdict.level == "consistent (data not held)", found.failures
    assert any("other test images or labels" in note for note in found.verdict.notes)
    assert not verify(published, others).holds


def test_predictions_are_restored_and_checked_with_the_labels_of_the_data(path: Path, published: Path) -> None:
    result, true = read_record(path).result, read_predictions(path.parent / "predictions.parquet")
    assert result is not None
    tests = held(path).tests
    assert checked_predictions(published.parent, result, tests).digest() == true.digest()
    assert checked_predictions(path.parent, result, ()).digest() == true.digest()
    swapped = PublishedLogits(read_published(published.parent / "logits.parquet").ids, true.logits)
    (published.parent / "logits.parquet").write_bytes(swapped.to_parquet())
    with pytest.raises(VerificationError, match="confusion matrix"):
        checked_predictions(published.parent, result, tests)


def test_classes_that_are_predicted_otherwise_are_caught_without_the_data(published: Path) -> None:
    logits = read_published(published.parent / "logits.parquet")
    better = PublishedLogits(logits.ids, np.roll(logits.logits, 1, axis=1))
    (published.parent / "logits.parquet").write_bytes(better.to_parquet())
    assert "predictions per class" in verify(published).verdict.failures[0]


@pytest.mark.parametrize("change", ["one", "all"])
def test_images_that_are_not_of_the_split_are_caught(path: Path, published: Path, change: str) -> None:
    data = held(path)
    others = [("other/1", "fear"), *data.tests[1:]] if change == "one" else [(f"x{i}", "fear") for i in range(210)]
    found = verify(published, Recomputed(data.values, {}, {}, others))
    assert "test images on this machine" in found.verdict.failures[0]


@pytest.mark.parametrize("content", [b"", b"PAR1", make_predictions().to_parquet()], ids=["empty", "cut", "labeled"])
def test_a_file_that_is_no_published_logits_fails(published: Path, content: bytes) -> None:
    (published.parent / "logits.parquet").write_bytes(content)
    assert {check.name for check in verify(published).failures} == {"predictions"}


def test_labels_that_may_be_passed_on_are_published(path: Path, tmp_path: Path) -> None:
    names = publish(path.parent, tmp_path / "open", known(True))
    assert names == ("predictions.parquet", "history.json", "record.json")
    for name in names:
        assert (tmp_path / "open" / name).read_bytes() == (path.parent / name).read_bytes()


def test_of_a_set_that_is_not_known_no_label_is_published(path: Path, tmp_path: Path) -> None:
    assert "logits.parquet" in publish(path.parent, tmp_path / "out", Known())


def test_publishing_again_replaces_what_had_labels(path: Path, tmp_path: Path) -> None:
    publish(path.parent, tmp_path / "out", known(True))
    publish(path.parent, tmp_path / "out", known(False))
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_what_is_no_result_is_not_published(tmp_path: Path, path: Path) -> None:
    failed = write_failure(tmp_path, make_cell("dtm"))
    with pytest.raises(VerificationError, match="no result to publish"):
        publish(failed.parent, tmp_path / "out", known(False))
    (path.parent / "predictions.parquet").write_bytes(make_predictions(skill=9.0).to_parquet())
    with pytest.raises(VerificationError, match="not the predictions of the record"):
        publish(path.parent, tmp_path / "out", known(False))
    assert not (tmp_path / "out").exists()


def test_a_board_holds_no_labels_of_a_licensed_set(path: Path, published: Path) -> None:
    root, board = path.parents[6], Board(published=True)
    text = json.dumps(
        [each.verdict.failures for each in verify_all([root], PROTOCOLS, known=known(False), board=board)]
    )
    assert "publish logits.parquet" in text
    runs = verify_all([root], PROTOCOLS, known=known(False))
    assert not any("publish" in line for each in runs for line in each.verdict.failures)
    clean = verify_all([published.parents[6]], PROTOCOLS, known=known(False), board=board)
    assert not any("publish" in line for each in clean for line in each.verdict.failures)
