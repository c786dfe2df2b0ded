"""Which cells `leaderboard reproduce` accepts, with runs that are only pretended."""

from pathlib import Path
from typing import Any

import pytest

import ferbench.execution.reproduction as reproduction
from ferbench.records.cell import Cell
from ferbench.records.known import NOTHING
from ferbench.records.publication import publish
from ferbench.records.reproduction import Difference
from ferbench.records.schema import Record, Result
from tests.support.command import Outcome, call
from tests.support.forgery import change
from tests.unit.records.factory import make_history, make_predictions, make_result, write_record


@pytest.fixture(autouse=True)
def other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine than that of the records, with nothing packed; each cell gives 75.2 %, and does not leak."""

    def run_again(record: Record, *others: object) -> Result:
        return make_result(record.cell, make_predictions(), make_history())

    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reproduction, "run_again", run_again)
    monkeypatch.setattr(reproduction, "circumstances", lambda *others: [Difference("torch", "1", "2")])
    monkeypatch.setattr(reproduction, "check_leaks", lambda *others: None)


def cell(seed: int = 0, **changes: object) -> Cell:
    """A cell of a dataset that is not installed."""
    fields = {"protocol": "ratio-v1", "dataset": "faces", "method": "fixmatch", "backbone": "small-resnet"}
    return Cell.model_validate({**fields, "budget": {"ratio": "0.05"}, "seed": seed, **changes})


def reproduce(folder: Path, sample: int) -> Outcome:
    options = ("--records", str(folder / "records"), "--out", str(folder / "trust.json"), "--seed", "0")
    return call("leaderboard", "reproduce", "--sample", str(sample), *options)


def test_a_record_that_does_not_hold_widens_no_range(tmp_path: Path) -> None:
    """Two seeds of 72.9 and 73.8 %, and a bad one that contradicts its predictions."""
    for seed, draw in enumerate((6, 5)):
        write_record(tmp_path / "records", cell(seed), predictions=make_predictions(seed=draw))
    bad = write_record(tmp_path / "records", cell(2), predictions=make_predictions(skill=0.0, seed=9))
    (bad.parent / "predictions.parquet").write_bytes(make_predictions(seed=8).to_parquet())
    done = reproduce(tmp_path, sample=2)
    assert done.code == 5
    assert done.out.count("FAILS") == 2, done.out


def test_logits_without_the_data_are_not_checked_and_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[object] = []
    monkeypatch.setattr(reproduction, "run_again", lambda *arguments: trained.append(arguments))
    path = write_record(tmp_path / "runs", cell())
    publish(path.parent, tmp_path / "records" / cell().folder(), NOTHING)
    done = reproduce(tmp_path, sample=1)
    assert (done.code, trained) == (1, []), done.out + done.err
    assert "not checked" in done.out and "faces" in done.out


def of_a_pool(fields: dict[str, Any]) -> None:
    fields["result"]["n_near_duplicates"] = 0
    fields["result"]["fingerprints"]["pool"] = "0" * 64


@pytest.mark.parametrize("changes", [{"pool": "others"}, {"test_on": "others"}], ids=str)
def test_cells_that_cannot_be_audited_are_not_chosen(tmp_path: Path, changes: dict[str, str]) -> None:
    write_record(tmp_path / "records", cell(0))
    path = write_record(tmp_path / "records", cell(0, **changes))
    if "pool" in changes:
        change(path, of_a_pool)
    done = reproduce(tmp_path, sample=2)
    assert "1 of 2 cells, chosen" in done.out, done.out
    assert "1 cell not chosen" in done.out


def test_a_near_result_within_the_range_of_the_row_is_noted(tmp_path: Path) -> None:
    for seed, draw in enumerate((5, 6, 11)):
        write_record(tmp_path / "records", cell(seed), predictions=make_predictions(seed=draw))
    done = reproduce(tmp_path, sample=3)
    assert done.out.count("within the spread of the row") == 1, done.out
    assert done.out.count("FAILS") == 2, done.out
