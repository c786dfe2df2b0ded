import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ferbench
from ferbench.errors import DataError, VerificationError
from ferbench.records.history import history_digest, read_history
from ferbench.records.lease import LeaseHeldError, Owner
from ferbench.records.schema import Record
from ferbench.records.store import RUNNING, BrokenRecord, RunningMarker, RunStore, read_predictions, read_record
from tests.support.command import call
from tests.support.deep_folders import deep_folders
from tests.support.ordinary_user import ordinary_user
from tests.unit.records.factory import (
    make_cell,
    make_history,
    make_predictions,
    make_record,
    write_failure,
    write_record,
)
from tests.unit.records.test_lease import left_by

CELL = make_cell()


def test_a_result_can_be_read_back(tmp_path):
    path = write_record(tmp_path, CELL)
    store = RunStore(tmp_path)
    record = store.read(CELL)
    assert record == read_record(path)
    assert path == store.folder(CELL) / "record.json"
    assert read_predictions(path.parent / "predictions.parquet").digest() == record.result.predictions_digest
    assert history_digest(read_history(path.parent / "history.json")) == record.result.history_digest


def test_a_cell_is_done_when_its_result_is_whole_and_of_the_same_data(tmp_path):
    store = RunStore(tmp_path)
    assert not store.is_done(CELL)
    path = write_record(tmp_path, CELL)
    prints = store.read(CELL).result.fingerprints
    assert store.is_done(CELL)
    assert store.is_done(CELL, prints)
    assert not store.is_done(CELL, prints.model_copy(update={"data": "other"}))
    assert not store.is_done(CELL, prints.model_copy(update={"pool": "not in the record"}))
    assert not store.is_done(make_cell(seed=1))
    (path.parent / "history.json").unlink()
    assert not store.is_done(CELL)


def test_a_failure_counts_as_missing_and_removes_what_was_there(tmp_path):
    write_record(tmp_path, CELL)
    path = write_failure(tmp_path, CELL)
    assert not RunStore(tmp_path).is_done(CELL)
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]
    write_record(tmp_path, CELL)
    assert RunStore(tmp_path).is_done(CELL)


def test_a_broken_record_is_not_done_and_says_so(tmp_path):
    path = write_record(tmp_path, CELL)
    path.write_bytes(path.read_bytes()[:100])
    assert not RunStore(tmp_path).is_done(CELL)
    with pytest.raises(VerificationError, match="not JSON"):
        RunStore(tmp_path).read(CELL)


def test_the_record_of_another_cell_in_the_folder(tmp_path):
    path = write_record(tmp_path, make_cell(seed=1))
    store = RunStore(tmp_path)
    path.parent.rename(store.folder(CELL))
    assert not store.is_done(CELL)
    with pytest.raises(VerificationError, match="another cell"):
        store.read(CELL)


def test_a_record_that_would_not_verify_is_not_written(tmp_path):
    predictions, history = make_predictions(), make_history()
    record = make_record(CELL, predictions, history)
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match="digests"):
        store.write_result(CELL, record, make_predictions(seed=5), history)
    with pytest.raises(ValueError, match="digests"):
        store.write_result(CELL, record, predictions, history[:1])
    with pytest.raises(ValueError, match="predictions and its history"):
        store.write_result(CELL, record)
    with pytest.raises(ValueError, match="not that of the cell"):
        store.write_result(make_cell(seed=1), record, predictions, history)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_finished_record(tmp_path, monkeypatch):
    path = write_record(tmp_path, CELL)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*record\.json: No space left"):
        write_record(tmp_path, CELL, skill=3.0)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_lock_that_cannot_be_made_names_the_folder(tmp_path):
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(DataError, match="runs"), RunStore(tmp_path / "runs").lock(CELL):
        pass


HOLD = """
import sys, time
from pathlib import Path
from ferbench.records.cell import Cell
from ferbench.records.history import history_digest, read_history
from ferbench.records.store import RunStore
cell = Cell.model_validate_json(sys.argv[2])
with RunStore(Path(sys.argv[1])).lock(cell):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), CELL.model_dump_json()], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


LEFT = ("running.json", "checkpoint.safetensors", "in-progress/rows.parquet")


def leave(folder: Path) -> None:
    """What a process leaves that is killed once it has written its record."""
    for name in LEFT:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"left")


def test_what_a_killed_process_has_left_beside_its_result_is_removed(tmp_path):
    folder = write_record(tmp_path, CELL).parent
    before = {path.name for path in folder.iterdir()}
    here = Owner.this_process()
    leave(folder)
    left_by(folder / ".lease", age=0, machine=here.machine, pid=here.pid, started=here.started - 60)
    RunStore(tmp_path).tidy(CELL)
    assert {path.name for path in folder.iterdir()} == before
    RunStore(tmp_path).tidy(make_cell(seed=1))
    assert not RunStore(tmp_path).folder(make_cell(seed=1)).exists()


def test_whoever_works_beside_a_result_is_not_disturbed(tmp_path):
    """As one does that trains the cell again for its model."""
    folder = write_record(tmp_path, CELL).parent
    leave(folder)
    left_by(folder / ".lease", age=0)
    before = sorted(folder.rglob("*"))
    RunStore(tmp_path).tidy(CELL)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.process
def test_a_second_process_is_told_who_holds_the_cell(tmp_path, holder):
    store = RunStore(tmp_path)
    with pytest.raises(LeaseHeldError) as caught, store.lock(CELL):
        pass
    assert str(store.folder(CELL)) in str(caught.value)
    assert f"process {holder.pid} " in str(caught.value)
    with store.lock(make_cell(seed=1)):  # other cells are free
        pass


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free_and_its_attempt_remembered(tmp_path, holder):
    store = RunStore(tmp_path)
    assert list(store.begun()) == [(store.folder(CELL), RunningMarker.read(store.folder(CELL) / RUNNING), True)]
    holder.kill()
    holder.wait()
    assert [(marker.pid, held) for _, marker, held in store.begun()] == [(holder.pid, False)]
    (store.folder(CELL) / ".record.json.0123.tmp").write_bytes(b"half")
    with store.lock(CELL) as lease:
        assert not list(lease.folder.glob("*.tmp"))
    assert list(store.begun()) == []


def test_looking_at_locks_does_not_stop_runs_that_start(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.lock(CELL):
        raise KeyboardInterrupt  # leaves an attempt whose lock can be looked at
    enough = threading.Event()

    def look():
        while not enough.is_set():
            list(store.begun())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            with store.lock(CELL):
                pass
    finally:
        enough.set()
        watcher.join()


def test_iterate_is_sorted_and_names_problems(tmp_path):
    paths = [
        write_record(tmp_path, make_cell(method, seed)) for method in ("supervised", "fixmatch") for seed in (1, 0)
    ]
    paths[0].write_text("{}")
    found = dict(RunStore(tmp_path).iterate())
    assert list(found) == sorted(paths)
    assert isinstance(found[paths[0]], BrokenRecord)
    assert all(isinstance(found[path], Record) for path in paths[1:])


def test_a_folder_that_cannot_be_looked_into_has_no_cancelled_cell(tmp_path):
    """As that of another user, or one on a server that does not answer; Path.exists raises an error there."""
    assert not RunStore(tmp_path / ("x" * 300)).is_cancelled(make_cell())


def test_iterate_of_no_folder_is_empty(tmp_path):
    assert list(RunStore(tmp_path / "missing").iterate()) == []


def test_a_folder_that_cannot_be_listed_is_a_broken_record(tmp_path):
    whole, other = (write_record(tmp_path, make_cell(dataset=name)) for name in ("faces", "others"))
    other.parent.chmod(0)
    with ordinary_user():
        found = dict(RunStore(tmp_path).iterate())
        with pytest.warns(UserWarning, match="cannot be listed"):
            frame = ferbench.load(tmp_path)
        shown = call("status", "--runs", str(tmp_path))
    other.parent.chmod(0o700)
    assert isinstance(found.pop(other), BrokenRecord)
    assert list(found) == [whole] == [Path(path) for path in frame["path"]]
    assert (shown.code, "its folder cannot be listed (Permission denied)" in shown.out) == (0, True), shown


def test_records_are_found_however_deep_they_lie(tmp_path):
    with deep_folders(tmp_path / "deep") as lowest:
        path = write_record(tmp_path, make_cell())
        path.rename(lowest / path.name)
        ((found, record),) = RunStore(tmp_path).iterate()
        assert found == lowest / path.name and not isinstance(record, BrokenRecord)


def test_links_are_broken_records_and_are_not_followed(tmp_path):
    outside = write_record(tmp_path / "outside", CELL)
    root = tmp_path / "root"
    inside = write_record(root, make_cell(seed=1))
    (root / "linked-folder").symlink_to(outside.parent)
    (root / "file").mkdir()
    (root / "file" / "record.json").symlink_to(outside)
    (root / "loop").mkdir()
    (root / "loop" / "record.json").symlink_to("record.json")
    (root / "folder" / "record.json").mkdir(parents=True)
    found = {path.parent.name: found for path, found in RunStore(root).iterate()}
    assert set(found) == {"file", "loop", "folder", inside.parent.name}
    assert isinstance(found.pop(inside.parent.name), Record)
    assert "a link" in found["file"].reason and "a link" in found["loop"].reason
    assert "directory" in found["folder"].reason
