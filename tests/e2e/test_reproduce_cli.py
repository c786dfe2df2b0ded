import json
from pathlib import Path

import pytest

from ferbench.cli.main import main
from ferbench.execution import api
from ferbench.records.store import RunStore, read_record
from tests.unit.records.factory import make_cell, write_failure, write_record

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def fake_run(skill):
    """An engine that writes a synthetic record instead of training."""

    def run(*, runs, seed, **options):
        write_record(runs, make_cell(seed=seed), skill=skill)
        return [RunStore(runs).read(make_cell(seed=seed))]

    return run


def test_the_command_and_the_differences(runs, capsys):
    path = write_record(runs, make_cell(overrides={"method": {"threshold": 0.9}}))
    assert main(["reproduce", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ferbench run --method fixmatch")
    assert "--ratio 0.05" in out
    assert "--set fixmatch.threshold=0.9" in out
    assert "ferbench 0.1.0, code abababababab" in out  # the factory's code is not the installed one


def test_a_cell_that_starts_from_a_file_asks_for_it(runs, capsys):
    path = write_record(runs, make_cell(init="sha256:" + "ab" * 32))
    assert main(["reproduce", str(path.parent)]) == 0
    out, err = capsys.readouterr()
    assert "--init WEIGHTS-FILE" in out
    assert "sha256:abab" in err
    assert main(["reproduce", str(path), "--run"]) == 2


def test_an_equal_result_ends_in_0(runs, capsys, monkeypatch):
    path = write_record(runs, make_cell())
    monkeypatch.setattr(api, "run", fake_run(skill=2.0))
    assert main(["reproduce", str(path), "--run"]) == 0
    assert "in every field" in capsys.readouterr().out


def test_another_result_ends_in_5_with_its_fields(runs, capsys, monkeypatch):
    path = write_record(runs, make_cell())
    monkeypatch.setattr(api, "run", fake_run(skill=2.1))
    assert main(["reproduce", str(path), "--run", "--runs", "again"]) == 5
    out, err = capsys.readouterr()
    assert "metrics.accuracy" in out
    assert "predictions_digest" in out
    assert "fields of the result differ" in err
    assert main(["reproduce", str(path), "--run", "--runs", "again"]) == 2  # not a fresh folder


def test_the_options_reach_the_engine_as_the_command_line_would_give_them(runs, monkeypatch):
    cell = make_cell("supervised", 3)
    path = write_record(runs, cell)
    given = {}

    def run(**options):
        given.update(options)
        return [read_record(path)]

    monkeypatch.setattr(api, "run", run)
    assert main(["reproduce", str(path), "--run", "--device", "cpu"]) == 0
    assert given["method"] == "supervised"
    assert given["variant"] == "weak"
    assert given["ratio"] == "0.05"
    assert given["seed"] == 3
    assert given["device"] == "cpu"


def test_a_failure_cannot_be_compared(runs):
    path = write_failure(runs, make_cell())
    assert main(["reproduce", str(path), "--run"]) == 2


def test_an_edited_cell_is_refused(runs):
    path = write_record(runs, make_cell())
    fields = json.loads(path.read_text())
    fields["cell"]["seed"] = 4
    path.write_text(json.dumps(fields))
    assert main(["reproduce", str(path)]) == 5


@pytest.mark.parametrize("git", ["committed", None, {"commit": "$(touch pwned)", "dirty": False}])
def test_a_record_of_version_1_names_the_commit_that_makes_it(runs, capsys, git):
    (path,) = RECORDS.glob("ratio-v1/synthfaces/ratio-0.05/ada-cm/small-resnet_16/seed0/record.json")
    expected = json.loads(path.read_text())["git"]["commit"]
    if git != "committed":  # made from an archive, or by somebody whose text must not become a command
        fields = {**json.loads(path.read_text()), "git": git}
        path, expected = runs.parent / "record.json", "fa07dc9"
        path.write_text(json.dumps(fields))
    assert main(["reproduce", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"git switch --detach {expected}"
    assert out.splitlines()[1].startswith("ferbench run --method ada-cm")
    assert "options of ferbench 0.1" in err
    assert main(["reproduce", str(path), "--run"]) == 2
    assert expected in capsys.readouterr().err


def test_a_record_whose_options_have_kept_their_names_needs_no_other_commit(capsys):
    (path,) = RECORDS.glob("ratio-v1/synthfaces/ratio-0.05/fixmatch/small-resnet_16/seed0/record.json")
    assert main(["reproduce", str(path)]) == 0
    assert capsys.readouterr().out.startswith("ferbench run --method fixmatch")
