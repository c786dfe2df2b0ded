"""Finding a record, and reading what lies beside it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ferbench.errors import UsageError, VerificationError
from ferbench.records.cell import canonical_json
from ferbench.records.formats import CHECKPOINT_FORMAT
from ferbench.records.store import find_record
from ferbench.reporting.run_files import read_run
from tests.unit.records.factory import make_cell, write_failure
from tests.unit.reporting.samples import full_history, write_run


def test_a_record_is_found_by_its_path_its_folder_and_any_folder_above(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    assert [find_record(place) for place in (path, path.parent, tmp_path)] == [path] * 3


def test_several_records_are_listed(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, make_cell(seed=seed)) for seed in (0, 1)]
    with pytest.raises(UsageError) as caught:
        find_record(tmp_path)
    assert all(str(path.parent) in str(caught.value) for path in paths)


def test_the_list_of_many_is_short(tmp_path: Path) -> None:
    for seed in range(14):
        write_failure(tmp_path, make_cell(seed=seed))
    with pytest.raises(UsageError, match="and more") as caught:
        find_record(tmp_path)
    assert str(caught.value).count("seed") == 10


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no record\.json"):
        find_record(tmp_path)


def test_a_whole_run_has_no_problems(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path))
    assert run.problems == ()
    assert run.history == full_history()
    assert run.predictions is not None


def test_files_of_another_run_are_not_used(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (path.parent / "history.json").write_text("[]")
    (path.parent / "predictions.parquet").write_bytes(b"PAR1")
    run = read_run(path)
    assert run.history == []
    assert run.predictions is None
    assert "history.json does not match" in run.problems[0]
    assert "predictions cannot be read" in run.problems[1]


@pytest.mark.parametrize("content", ['[{"step": "\\ud800"}]', "{}", "[1]", "nonsense", "[" * 100_000])
def test_a_broken_history_is_a_problem_and_no_error(tmp_path: Path, content: str) -> None:
    path = write_run(tmp_path)
    (path.parent / "history.json").write_text(content)
    assert len(read_run(path).problems) == 1


def test_missing_files_are_problems(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (path.parent / "history.json").unlink()
    (path.parent / "predictions.parquet").unlink()
    assert len(read_run(path).problems) == 2


def test_a_changed_cell_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert "cell_id" in read_run(path).problems[0]


def test_a_broken_record_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(VerificationError, match=r"record\.json: "):
        read_run(tmp_path / "record.json")


def test_a_failed_run_has_the_history_of_its_checkpoint(tmp_path: Path) -> None:
    path = write_failure(tmp_path, make_cell())
    assert read_run(path).history == []
    state = {"format": CHECKPOINT_FORMAT, "progress": {"history": [row.to_json() for row in full_history(epochs=3)]}}
    metadata = {"ferbench": canonical_json(state).decode()}
    save_file({"x": np.zeros(1)}, path.parent / "checkpoint.safetensors", metadata)
    run = read_run(path)
    assert run.history == full_history(epochs=3)
    assert run.problems == ()


@pytest.mark.parametrize(
    "state", [None, [], {"progress": 1}, {"progress": {"history": [1]}}, {"progress": {}}, {"format": 1, "progress": 1}]
)
def test_a_strange_checkpoint_is_a_problem_and_no_error(tmp_path: Path, state: object) -> None:
    path = write_failure(tmp_path, make_cell())
    checkpoint = path.parent / "checkpoint.safetensors"
    save_file({"x": np.zeros(1)}, checkpoint, {"ferbench": canonical_json(state).decode()} if state else None)
    assert len(read_run(path).problems) == 1
    checkpoint.write_bytes(b"nonsense")
    assert len(read_run(path).problems) == 1
