"""Records as pandas sees them."""

import io
import json
import re
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

import ferbench
from ferbench.errors import UsageError
from ferbench.records import metrics as table
from ferbench.records.frame import COLUMNS, RECALL, Records, frame_of, row_of, rows_of
from ferbench.records.metrics import BY_KEY, Metrics, outcome_of
from ferbench.records.schema import Measured
from ferbench.records.store import read_predictions, read_record
from tests.unit.records.factory import (
    CLASS_NAMES,
    make_cell,
    make_history,
    make_predictions,
    make_record,
    write_failure,
    write_record,
)

NASTY = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        write_record(tmp_path, make_cell("fixmatch", seed), skill=2.5)
    write_record(tmp_path, make_cell("supervised", 0, test_on="jaffe"))
    write_failure(tmp_path, make_cell("dtm"))
    return tmp_path


def test_a_row_per_cell_with_what_the_record_says(runs):
    frame = ferbench.load(runs)
    assert len(frame) == 5
    row = frame[(frame["method"] == "fixmatch") & (frame["seed"] == 2)].iloc[0]
    record = read_record(Path(row["path"]))
    assert (row["cell_id"], row["status"], row["ratio"], row["n_test"]) == (record.cell_id, "ok", 0.05, 210)
    assert row["started_at"] == pd.Timestamp("2026-01-01", tz="UTC")
    assert json.loads(row["confusion"]) == record.result.confusion
    predictions = read_predictions(Path(row["path"]).parent / "predictions.parquet")
    guess = predictions.logits.argmax(axis=1)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(predictions.labels, guess), abs=1e-12)
    recalls = recall_score(predictions.labels, guess, average=None)
    assert [row[f"{RECALL}{name}"] for name in CLASS_NAMES] == pytest.approx(recalls.tolist(), abs=1e-12)


def test_what_is_missing_is_missing_whatever_the_type(runs):
    frame = ferbench.load(str(runs))
    failed = frame[frame["status"] == "diverged"].iloc[0]
    assert failed["error"] == "DivergedError: loss is not finite (step 17)"
    assert (
        failed[["accuracy", "n_test", "model_digest", "oracle_step" if "oracle_step" in frame else "ece"]].isna().all()
    )
    assert frame["test_on"].isna().sum() == 4


def test_types_are_those_of_the_list_also_of_an_empty_frame(runs):
    for frame in (ferbench.load(runs), frame_of([])):
        types = {name: str(dtype) for name, dtype in frame.dtypes.items() if not name.startswith(RECALL)}
        assert types == {column.name: column.dtype for column in COLUMNS}
        assert set(types.values()) == {"string", "Int64", "Float64", "boolean", "datetime64[us, UTC]"}


def test_a_frame_survives_parquet_with_its_types(runs):
    frame = ferbench.load(runs)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    pd.testing.assert_frame_equal(pd.read_parquet(buffer), frame)


def test_groupby_gives_the_means_of_the_records(runs):
    frame = ferbench.load(runs)
    means = frame.groupby("row")["accuracy"].agg(["mean", "std", "count"])
    scores = [read_record(Path(path)).result.metrics.accuracy for path in frame[frame["row"] == "fixmatch"]["path"]]
    assert means.loc["fixmatch", "mean"] == pytest.approx(sum(scores) / 3)
    assert means.loc["fixmatch", "count"] == 3


def test_rows_of_is_the_inverse(runs):
    records = [read_record(path) for path in sorted(runs.rglob("record.json"))]
    for row, record in zip(rows_of(frame_of(records)), records, strict=True):
        assert (row["seed"], row["pool"], row["standard"]) == (record.cell.seed, None, True)
        assert type(row["seed"]) is int


def test_a_time_of_a_stranger_that_is_none_is_missing():
    record = make_record(make_cell(), make_predictions(), make_history(), measured=Measured(started_at="yesterday"))
    assert frame_of([record])["started_at"].isna().all()


# A metric that is younger than a record


@pytest.fixture
def younger(runs, monkeypatch):
    """The calibration error as if no record had it yet; the records of `runs` are older."""
    metric = replace(BY_KEY["ece"], key="younger")
    monkeypatch.setattr(table, "METRICS", (metric,))
    monkeypatch.setattr(Metrics, "younger", None, raising=False)
    return metric


def test_a_metric_that_needs_logits_is_computed_from_the_predictions_of_the_record(younger, runs):
    path = runs / make_cell().folder() / "record.json"
    record, predictions = read_record(path), read_predictions(path.parent / "predictions.parquet")
    expected = younger.compute(outcome_of(predictions.logits, predictions.labels, 7))
    assert row_of(record, path)["younger"] == expected == record.result.metrics.ece
    assert row_of(record)["younger"] is None
    (path.parent / "predictions.parquet").write_bytes(make_predictions(1.0, seed=9).to_parquet())
    assert row_of(record, path)["younger"] is None, "predictions of something else were taken"
    (path.parent / "predictions.parquet").unlink()
    assert row_of(record, path)["younger"] is None


# Bad input


def test_broken_records_are_named_and_the_others_are_loaded(runs):
    broken = runs / make_cell("fixmatch", 0).folder() / "record.json"
    edited = runs / make_cell("fixmatch", 1).folder() / "record.json"
    broken.write_text("{")
    fields = json.loads(edited.read_text())
    fields["result"]["metrics"]["accuracy"] = 1.0
    edited.write_text(json.dumps(fields))
    with pytest.warns(UserWarning, match="2 of the records") as caught:
        frame = ferbench.load(runs)
    problems = frame.attrs["problems"]
    assert set(problems) == {str(broken), str(edited)}
    assert "not JSON" in problems[str(broken)]
    assert "accuracy is recorded as 1.0" in problems[str(edited)]
    for path, reason in problems.items():
        assert f"{path}: {reason}" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert sorted(frame["seed"][frame["method"] == "fixmatch"]) == [2]


def test_a_whole_tree_warns_of_nothing(runs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ferbench.load(runs).attrs["problems"] == {}


def test_a_number_that_no_column_holds_is_a_broken_record_and_no_crash(runs):
    path = runs / make_cell("fixmatch", 0).folder() / "record.json"
    path.write_text(re.sub(r'"parameters": \d+', f'"parameters": {10**30}', path.read_text()))
    with pytest.warns(UserWarning, match="beyond 2\\^53"):
        assert len(ferbench.load(runs)) == 4


def test_one_record_by_its_path(runs):
    path = next(runs.rglob("record.json"))
    assert list(ferbench.load(path)["path"]) == [str(path)]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_record_is_an_error_that_names_path_and_remedy(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=f"{name}.*`ferbench run`") as caught:
        ferbench.load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


# In a notebook


def table_of(records):
    """The table that a notebook shows, parsed."""
    return next(ET.fromstring(f"<div>{records._repr_html_()}</div>").iter("table"))


def test_records_are_a_list_that_shows_as_a_table():
    records = Records(
        [make_record(make_cell(seed=seed), make_predictions(2.0, seed), make_history()) for seed in range(2)]
    )
    assert records == list(records)
    cells = [[cell.text for cell in row] for row in table_of(records).iter("tr")]
    assert cells[0][:6] == ["Method", "Dataset", "Labels", "Backbone", "Seed", "Status"]
    assert [row[4] for row in cells[1:]] == ["0", "1"]
    accuracy = cells[0].index("Accuracy")
    assert cells[1][accuracy] == f"{100 * records[0].result.metrics.accuracy:.1f} %"
    pd.testing.assert_frame_equal(records.frame(), frame_of(records))


def test_a_notebook_shows_failures_with_their_reason_and_no_markup_of_strangers(tmp_path):
    record = read_record(write_failure(tmp_path, make_cell(), message=NASTY))
    page = Records([record])._repr_html_()
    assert "<script" not in page and "\x1b" not in page
    assert "alert(1)" in "".join(table_of(Records([record])).itertext())
    assert Records([])._repr_html_()
