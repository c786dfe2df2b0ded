import json

import pytest

from ferbench.cli.main import main
from ferbench.records.cell import Budget
from tests.unit.records.factory import make_cell, write_failure, write_record


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        write_record(tmp_path / "runs", make_cell("supervised", seed, variant="strong"), skill=1.5)
        write_record(tmp_path / "runs", make_cell("fixmatch", seed), skill=2.5)
    return tmp_path / "runs"


def test_rows_by_name(runs, capsys):
    assert main(["compare", "fixmatch", "supervised@strong"]) == 0
    out = capsys.readouterr().out
    assert "fixmatch against supervised@strong: synthfaces, 7 classes, 5 % of the labels" in out
    assert "95 % interval" in out.lower()
    assert "means of 3 seeds; intervals and p have the variance of seeds and of the 210 shared test images" in out
    assert "recall of fear" in out


def test_described_may_be_said(runs, capsys):
    assert main(["compare", "fixmatch@described", "supervised@strong"]) == 0
    assert "fixmatch against supervised@strong" in capsys.readouterr().out


def test_json(runs, capsys):
    assert main(["compare", "fixmatch", "supervised@strong", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [pair["seed"] for pair in found["pairs"]] == [0, 1, 2]
    accuracy = found["metrics"]["accuracy"]
    assert (accuracy["pairs"], accuracy["images"]) == (3, 210)
    assert accuracy["low"] > 0 and accuracy["p_unadjusted"] < 0.05 and accuracy["smallest"] > 0
    assert found["recall_p"].keys() == found["recalls"].keys()


def test_every_shared_table_is_compared(runs, capsys):
    for method in ("supervised", "fixmatch"):
        variant = {"variant": "strong"} if method == "supervised" else {}
        write_record(runs, make_cell(method, budget=Budget(ratio="0.1"), **variant))
    assert main(["compare", "fixmatch", "supervised@strong"]) == 0
    out = capsys.readouterr().out
    assert "10 % of the labels" in out
    assert "needs two seeds" in out


def test_records_by_path(runs, capsys):
    a, b = (
        runs / make_cell(method, 1, variant=variant).folder()
        for method, variant in (("fixmatch", "described"), ("supervised", "strong"))
    )
    assert main(["compare", str(a / "record.json"), str(b)]) == 0
    assert "1 seed" in capsys.readouterr().out.lower()


def test_other_splits_are_refused(runs, capsys):
    path = runs / make_cell("fixmatch", 1).folder() / "record.json"
    fields = json.loads(path.read_text())
    fields["result"]["fingerprints"]["labeled"] = "0" * 64
    path.write_text(json.dumps(fields))
    assert main(["compare", "fixmatch", "supervised@strong"]) == 2
    assert "labeled fingerprints differ" in capsys.readouterr().err


def test_an_unknown_row_is_answered_with_the_nearest(runs, capsys):
    assert main(["compare", "fixmach", "supervised@strong"]) == 2
    assert "did you mean 'fixmatch'?" in capsys.readouterr().err


def test_a_row_that_has_not_finished_is_not_suggested(runs, capsys):
    write_failure(runs, make_cell("flexmatch"))
    assert main(["compare", "flexmatch", "supervised@strong"]) == 2
    message = capsys.readouterr().err
    assert "no finished record of 'flexmatch'" in message and "it has fixmatch, supervised@strong" in message
    assert "did you mean 'flexmatch'" not in message


def test_a_folder_of_several_rows_is_refused(runs, capsys):
    assert main(["compare", str(runs), "fixmatch"]) == 2
    assert "several rows (fixmatch, supervised@strong)" in capsys.readouterr().err


def test_no_runs_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "fixmatch", "supervised@weak"]) == 2
    assert "--runs" in capsys.readouterr().err
