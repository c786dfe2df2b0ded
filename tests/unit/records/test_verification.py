import json

import numpy as np
import pytest

from ferbench.discovery.loader import builtin_protocols
from ferbench.records.cell import digest
from ferbench.records.history import history_bytes
from ferbench.records.predictions import Predictions
from ferbench.records.split_checks import Recomputed
from ferbench.records.verification import verify_record
from tests.unit.records.factory import (
    CLASS_NAMES,
    make_cell,
    make_history,
    make_predictions,
    make_record,
    write_failure,
    write_record,
)


@pytest.fixture
def path(tmp_path):
    return write_record(tmp_path, make_cell())


PROTOCOLS = builtin_protocols()


def verify(path, recompute=None):
    return verify_record(path, PROTOCOLS, recompute)


def failed(path, recompute=None):
    return {check.name: check.detail for check in verify(path, recompute).failures}


def edit(path, *keys, to):
    """Change one value of a record by hand."""
    fields = json.loads(path.read_text())
    target = fields
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = to(target[keys[-1]]) if callable(to) else to
    path.write_text(json.dumps(fields))


def test_a_good_record_holds_and_says_what_was_not_checked(path):
    found = verify(path)
    assert found.holds
    assert {check.name for check in found.unchecked} == {"oracle", "split"}
    assert all(check.remedy for check in found.unchecked)
    verified = {check.name for check in found.checks if check.state == "verified"}
    assert {"schema", "cell id", "folder", "metrics", "recomputed metrics", "predictions", "history"} <= verified


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "ece"])
def test_a_hand_edited_metric_fails(path, metric):
    edit(path, "result", "metrics", metric, to=lambda value: value + 1e-6)
    assert f"{metric} is recorded as" in failed(path)["recomputed metrics"]


def test_a_hand_edited_recall_fails(path):
    edit(path, "result", "metrics", "per_class_recall", "fear", to=0.99)
    assert set(failed(path)) == {"metrics", "recomputed metrics"}
    edit(path, "result", "metrics", "per_class_recall", "fear", to=None)
    assert "recall of fear is recorded as absent" in failed(path)["metrics"]


def test_an_edited_confusion_fails_even_with_metrics_to_match(path):
    edit(path, "result", "confusion", to=lambda rows: [rows[1], rows[0], *rows[2:]])
    assert "confusion matrix" in failed(path)["recomputed metrics"]
    better = make_predictions(skill=9.0)
    record = make_record(make_cell(), better, make_history(predictions=better))
    edit(path, "result", "confusion", to=record.result.confusion)
    edit(path, "result", "metrics", to=record.result.metrics.model_dump())
    edit(path, "result", "oracle", "accuracy", to=1.0)
    assert set(failed(path)) == {"recomputed metrics", "history"}


def test_edited_predictions_fail(path):
    (path.parent / "predictions.parquet").write_bytes(make_predictions(skill=9.0).to_parquet())
    assert set(failed(path)) == {"predictions", "recomputed metrics"}


def test_labels_changed_to_match_the_predictions_fail(path):
    true = make_predictions()
    fitted = true.logits.argmax(axis=1).astype(np.int64)
    forged = Predictions(true.ids, fitted, true.logits)
    record = make_record(make_cell(), forged, make_history(predictions=forged))
    test_split = json.loads(path.read_text())["result"]["fingerprints"]["test"]
    path.write_bytes(record.to_json())
    edit(path, "result", "fingerprints", "test", to=test_split)
    (path.parent / "predictions.parquet").write_bytes(forged.to_parquet())
    (path.parent / "history.json").write_bytes(history_bytes(make_history(predictions=forged)))
    assert set(failed(path)) == {"test labels"}


@pytest.mark.parametrize("name", ["predictions.parquet", "history.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04garbage"])
def test_missing_or_unreadable_files_fail(path, name, content):
    if content is None:
        (path.parent / name).unlink()
    else:
        (path.parent / name).write_bytes(content)
    assert set(failed(path)) == {name.partition(".")[0]}


def test_predictions_of_other_classes_fail(path):
    few = make_predictions(classes=3)
    (path.parent / "predictions.parquet").write_bytes(few.to_parquet())
    assert "shape" in failed(path)["recomputed metrics"]


def test_a_test_image_that_counts_twice_fails(tmp_path):
    once = make_predictions()
    twice = Predictions([once.ids[0], once.ids[0], *once.ids[2:]], once.labels, once.logits)
    path = write_record(tmp_path, make_cell())
    history = make_history(predictions=twice)
    path.write_bytes(make_record(make_cell(), twice, history).to_json())
    (path.parent / "history.json").write_bytes(history_bytes(history))
    (path.parent / "predictions.parquet").write_bytes(twice.to_parquet())
    assert failed(path) == {"predictions": "a test image occurs twice"}


def test_an_edited_history_fails(path):
    history = json.loads((path.parent / "history.json").read_text())
    history[0]["loss"] = 0.0
    (path.parent / "history.json").write_text(json.dumps(history))
    assert set(failed(path)) == {"history"} and "digest" in failed(path)["history"]


def test_a_reformatted_history_holds(path):
    file = path.parent / "history.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert verify(path).holds


def test_a_record_in_a_wrong_folder_fails(path):
    moved = path.parent.rename(path.parent.with_name("seed7"))
    assert "ratio-v1/synthfaces" in failed(moved / "record.json")["folder"]


def test_an_edited_cell_fails(path):
    edit(path, "cell", "seed", to=3)
    assert set(failed(path)) == {"cell id", "folder"}
    edit(path, "cell_id", to=digest("anything"))
    assert "cell id" in failed(path)


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a\nb", "<script>", "=cmd()"])
def test_names_that_lead_elsewhere_are_no_record(path, name):
    edit(path, "cell", "method", to=name)
    assert "cell.method" in failed(path)["schema"]


def test_hidden_overrides_fail(tmp_path):
    path = write_record(tmp_path, make_cell(overrides={"protocol": {"steps": 60}}), standard=True)
    assert "protocol.steps=60" in failed(path)["standard"]


@pytest.mark.parametrize("changes", [{"seed": 17}, {"budget": {"ratio": "0.03"}}], ids=["seed", "ratio"])
def test_what_the_protocol_does_not_list_is_not_standard(tmp_path, changes):
    path = write_record(tmp_path, make_cell(**changes), standard=True)
    assert set(failed(path)) == {"standard"}
    path = write_record(tmp_path, make_cell(**changes), standard=False)
    assert verify(path).holds


def test_the_headline_is_the_protocols(path):
    edit(path, "headline", to="macro_f1")
    assert all(metric in failed(path)["standard"] for metric in ("macro_f1", "accuracy"))


def test_predictions_are_smoothed_where_the_protocol_says_so(path):
    edit(path, "config", "protocol", "temporal_window", to=25)
    assert "{'temporal_window': 25}" in failed(path)["standard"]


def test_more_labels_than_the_budget_are_not_standard(path):
    edit(path, "result", "fingerprints", "relabeled", to="0" * 64)
    assert "the cell gives false" in failed(path)["standard"]


def test_the_protocol_of_a_plugin_leaves_standard_unchecked(tmp_path):
    found = verify(write_record(tmp_path, make_cell(protocol="theirs-v1")))
    assert found.holds
    assert "standard" in {check.name for check in found.unchecked}
    assert all(check.remedy for check in found.unchecked)


@pytest.mark.parametrize(
    ("keys", "value", "text"),
    [
        (("accuracy",), 0.0, "below the final"),
        (("evaluations",), 7, "at most 6"),
        (("step",), 1801, "its step is 1801"),
        (("step",), 1800, "that of the last step"),
    ],
)
def test_an_impossible_oracle_fails(path, keys, value, text):
    edit(path, "result", "oracle", *keys, to=value)
    assert text in failed(path)["oracle"]


@pytest.mark.parametrize(
    ("declared", "made", "refusal"),
    [(20, 20, ""), (20, 21, "at most 20"), (2, 3, "at most 2"), (1000, 21, "at most 20"), ("many", 1, "at most 0")],
)
def test_an_oracle_is_the_best_of_as_many_evaluations_as_the_recipe_has(path, declared, made, refusal):
    edit(path, "config", "protocol", to=lambda protocol: {**protocol, "evaluations": declared})
    edit(path, "result", "oracle", "evaluations", to=made)
    found = failed(path).get("oracle", "")
    assert refusal in found and bool(refusal) == bool(found)


@pytest.mark.parametrize(
    ("keys", "value", "text"),
    [
        (("class_names",), [*CLASS_NAMES[:-1], "fear"], "named twice"),
        (("class_names",), CLASS_NAMES[:-1], "not 6 by 6"),
        (("confusion",), [[1, 2], [3]], "not 7 by 7"),
        (("confusion", 0), [-1, 31, 0, 0, 0, 0, 0], "n_test"),
        (("n_test",), 211, "n_test = 211"),
        (("n_labeled",), 71, "n_labeled = 71"),
        (("labeled_counts", "boredom"), 0, "unknown class"),
    ],
    ids=str,
)
def test_counts_that_contradict_each_other_fail(path, keys, value, text):
    fields = json.loads(path.read_text())
    target = fields["result"]
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    path.write_text(json.dumps(fields))
    assert text in failed(path)["counts"]


def test_every_fingerprint_is_recomputed_or_named(path):
    recorded = json.loads(path.read_text())["result"]["fingerprints"]

    def given(unchecked=(), **values):
        return lambda cell, fingerprints: Recomputed(values, dict.fromkeys(unchecked, "not here"))

    assert "split" in {check.name for check in verify(path, given(**recorded)).checks if check.state == "verified"}
    assert "labeled differs" in failed(path, given(**{**recorded, "labeled": "x"}))["split"]
    # What the data gives and the record lacks, and the other way round.
    assert "folds differs" in failed(path, given(**recorded, folds="f"))["split"]
    edit(path, "result", "fingerprints", "boxes", to="0" * 64)
    assert "boxes differs" in failed(path, given(**recorded))["split"]
    found = verify(path, given(unchecked=["boxes"], **recorded))
    assert found.holds
    assert "split: boxes" in {check.name for check in found.unchecked}
    found = verify(path, given(unchecked=[*recorded, "boxes"]))
    assert {check.name for check in found.unchecked} == {"oracle", "split"}
    assert all(check.remedy for check in found.unchecked)


def test_what_ran_inline_is_not_standard(path):
    edit(path, "measured", "executor", to="inline")
    assert "recorded as true" in failed(path)["standard"]
    edit(path, "standard", to=False)
    assert not failed(path)


def test_a_failure_has_fewer_things_to_check(tmp_path):
    found = verify(write_failure(tmp_path, make_cell()))
    assert found.holds
    assert {check.name for check in found.checks} == {"schema", "cell id", "standard", "folder", "options"}


def test_a_failure_may_be_of_a_method_that_sees_more_labels(tmp_path):
    path = write_failure(tmp_path, make_cell())
    edit(path, "standard", to=False)
    found = verify(path)
    assert found.holds
    assert "standard" in {check.name for check in found.unchecked}
    assert all(check.remedy for check in found.unchecked)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", b"[" * 100_000, b" " * 5_000_001, b'{"a": NaN}'],
    ids=["cut", "latin", "deep", "huge", "nan"],
)
def test_what_is_no_record_fails_alone(path, content):
    path.write_bytes(content)
    assert set(failed(path)) == {"schema"}


@pytest.fixture
def crossed(path, tmp_path):
    """The record of a model that is tested on another set, beside that of its training."""
    return write_record(tmp_path, make_cell(test_on="jaffe"))


def test_a_test_on_another_set_holds_with_the_model_of_its_base(crossed):
    found = verify(crossed)
    assert found.holds, found.failures
    assert {check.name for check in found.unchecked} == {"split"}
    assert {"model", "oracle", "recomputed metrics", "test labels"} <= {check.name for check in found.checks}


def test_another_model_than_that_of_the_base_fails(crossed, path):
    edit(crossed, "result", "model_digest", to="0" * 64)
    assert "run the cell again" in failed(crossed)["model"]
    path.unlink()
    (missing,) = [check for check in verify(crossed).unchecked if check.name == "model"]
    assert "ratio-v1/synthfaces/ratio-0.05/fixmatch" in missing.detail
    assert "verify again" in missing.remedy


def test_what_only_one_kind_of_test_has_fails_in_the_other(crossed, path):
    oracle = json.loads(path.read_text())["result"]["oracle"]
    edit(crossed, "result", "oracle", to=oracle)
    assert set(failed(crossed)) == {"oracle"}
    edit(path, "result", "oracle", to=None)
    assert set(failed(path)) == {"oracle"}
    edit(path, "result", "oracle", to=oracle)
    edit(path, "result", "n_test_left_out", to=3)
    assert "n_test_left_out" in failed(path)["counts"]


def test_labels_of_classes_that_are_not_tested_are_counted(crossed):
    more = {**dict.fromkeys(CLASS_NAMES, 10), "contempt": 5}
    edit(crossed, "result", "labeled_counts", to=more)
    edit(crossed, "result", "n_labeled", to=75)
    assert verify(crossed).holds
    edit(crossed, "result", "labeled_counts", to={name: more[name] for name in [*CLASS_NAMES[1:], "contempt"]})
    edit(crossed, "result", "n_labeled", to=65)
    assert failed(crossed)["counts"] == "a class is tested that was not trained"


def test_options_tuned_by_another_distribution_than_the_owner_fail(path):
    tuned = {"distribution": "ferbench", "trials": 5, "source": "docs/tuning.md", "options": {"threshold": 0.95}}
    edit(path, "tunings", to=lambda _: {"method": tuned})
    assert verify(path).holds
    edit(path, "tunings", to={"method": {**tuned, "distribution": "ferbench-other"}})
    assert set(failed(path)) == {"tunings"} and "tuned by ferbench-other" in failed(path)["tunings"]
    edit(path, "tunings", to={"head": tuned})
    assert set(failed(path)) == {"tunings"} and "the head is tuned by ferbench" in failed(path)["tunings"]
    edit(path, "tunings", to={"method": {**tuned, "trials": 0}})
    assert "trials" in failed(path)["schema"]
