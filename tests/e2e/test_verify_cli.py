import json
import re

import pytest

from ferbench.cli.main import main
from ferbench.records.schema import record_schema
from tests.unit.records.factory import make_cell, write_failure, write_record


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # These records are made up: were the real data packed by another test, their splits would rightly not hold.
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    for seed in range(2):
        write_record(tmp_path / "runs", make_cell(seed=seed))
    write_failure(tmp_path / "runs", make_cell("dtm"))
    return tmp_path / "runs"


def edit(path):
    fields = json.loads(path.read_text())
    fields["result"]["metrics"]["accuracy"] = 0.99
    path.write_text(json.dumps(fields))


def test_good_records_end_in_0_and_name_what_was_not_checked(runs, capsys):
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert out.count("holds") == 3
    assert "not checked: oracle" in out
    assert "15 checks: schema, cell id" in out
    assert out.count("consistent (data not held)") == 2
    assert out.count("submitted") == 1
    assert re.search("note: seeds: .* 2, 3, 4", out)


def test_a_hand_edited_metric_ends_in_5(runs, capsys):
    path = runs / make_cell(seed=1).folder() / "record.json"
    edit(path)
    assert main(["verify", str(runs)]) == 5
    out, err = capsys.readouterr()
    assert "recomputed metrics: accuracy is recorded as 0.99" in out
    assert out.count("FAILS") == 1
    assert f"1 of 3 records does not hold: {path}" in err.replace("\n", "")
    assert main(["verify", str(path)]) == 5
    assert main(["verify", str(runs / make_cell(seed=0).folder())]) == 0


def test_json_has_every_check(runs, capsys):
    edit(runs / make_cell(seed=1).folder() / "record.json")
    assert main(["verify", "--json"]) == 5
    found = json.loads(capsys.readouterr().out)
    assert [item["holds"] for item in found] == [True, True, False]
    assert {"name": "folder", "state": "verified", "detail": ""} in found[0]["checks"]


def test_the_runs_folder_comes_from_the_environment(runs, tmp_path, monkeypatch, capsys):
    runs.rename(tmp_path / "other")
    assert main(["verify"]) == 2
    assert "no record.json under runs" in capsys.readouterr().err
    monkeypatch.setenv("FERBENCH_RUNS", str(tmp_path / "other"))
    assert main(["verify"]) == 0


def test_a_path_that_is_not_there_is_a_usage_error(runs):
    assert main(["verify", "nowhere"]) == 2


def test_the_schema_can_be_printed(capfdbinary):
    assert main(["verify", "--print-schema"]) == 0
    assert capfdbinary.readouterr().out == record_schema()


def test_control_codes_of_a_record_do_not_reach_the_terminal(runs, capsys):
    path = runs / make_cell().folder() / "record.json"
    fields = json.loads(path.read_text())
    fields["result"]["class_names"][0] = "\u001b[2Jgone\n\u202e"
    path.write_text(json.dumps(fields))
    assert main(["verify"]) == 5
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err
