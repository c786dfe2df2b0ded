import json

import pytest

from ferbench.cli.main import main
from ferbench.records.store import RunStore
from tests.unit.records.factory import make_cell, write_failure, write_record


def test_counts_and_reasons(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "runs", make_cell())
    write_failure(tmp_path / "runs", make_cell(seed=1), "no memory\x1b[2J left")
    with RunStore(tmp_path / "runs").lock(make_cell(seed=2)):
        assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "1 done, 1 failed, 1 running, 0 interrupted, 0 waiting in runs" in out
    assert "diverged: DivergedError: no memory [2J left (step 17)" in out
    with pytest.raises(KeyboardInterrupt), RunStore(tmp_path / "runs").lock(make_cell(seed=3)):
        raise KeyboardInterrupt
    assert main(["status", "--json"]) == 0
    (cells,) = json.loads(capsys.readouterr().out)["cells"]
    assert (cells["done"], cells["failed"], cells["interrupted"]) == (1, 1, 1)


def test_an_empty_folder_says_how_to_begin(tmp_path, capsys):
    assert main(["status", "--runs", str(tmp_path)]) == 0
    assert "ferbench run" in capsys.readouterr().out
