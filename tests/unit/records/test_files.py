import errno
import os
import stat
from pathlib import Path

import pytest

from ferbench.errors import DataError, VerificationError
from ferbench.records import files
from ferbench.records.files import (
    check_writable,
    read_bounded,
    remove_leftovers,
    write_atomic,
    write_out,
    write_together,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_atomic_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_atomic(path, b"1")
    write_atomic(path, b"2")
    assert path.read_bytes() == b"2"
    assert names(path.parent) == ["b.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_changes_nothing(tmp_path, monkeypatch, failing, number):
    path = tmp_path / "record.json"
    write_atomic(path, b"old")

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(DataError) as caught:
        write_atomic(path, b"new")
    assert str(path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert "--runs" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["record.json"]


def test_a_file_system_that_syncs_no_folders_is_written_to(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "record.json", b"new")
    assert (tmp_path / "record.json").read_bytes() == b"new"


def test_a_disk_that_fills_up_half_way_leaves_all_old_files(tmp_path, monkeypatch):
    write_together(tmp_path, {"data": b"old", "marker": b"old"})
    written = []
    write_new = files._write_new

    def full_at_the_second(path, data):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_new(path, data)

    monkeypatch.setattr(files, "_write_new", full_at_the_second)
    with pytest.raises(DataError, match="No space left"):
        write_together(tmp_path, {"data": b"new", "marker": b"new"})
    assert (tmp_path / "data").read_bytes() == (tmp_path / "marker").read_bytes() == b"old"
    assert names(tmp_path) == ["data", "marker"]


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_a_crash_between_replacements_never_leaves_an_old_marker_with_new_data(tmp_path, monkeypatch, replaced):
    write_together(tmp_path, {"data": b"old", "more": b"old", "marker": b"old"})
    done = []
    replace = os.replace

    def crash(source, target):
        if len(done) == replaced:
            raise KeyboardInterrupt  # like a kill: no handler of OSError runs
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, {"data": b"new", "more": b"new", "marker": b"new"})
    assert not (tmp_path / "marker").exists()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["data", "more"]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot write"):
        write_atomic(tmp_path / "file" / "record.json", b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match="make the folder writable"):
            write_atomic(tmp_path / "record.json", b"")
    finally:
        tmp_path.chmod(0o700)


def test_old_names_go_once_the_new_file_stands(tmp_path):
    write_together(tmp_path, {"data": b"old", "marker": b"old"})
    write_together(tmp_path, {"marker": b"new"}, remove=("data", "never-there"))
    assert names(tmp_path) == ["marker"]


def test_a_named_link_leads_to_its_file_and_a_pipe_is_filled(tmp_path):
    kept, link, pipe = tmp_path / "kept.csv", tmp_path / "link.csv", tmp_path / "pipe"
    kept.write_bytes(b"old")
    link.symlink_to(kept)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (link, pipe):
        check_writable(path)
        write_out(path, b"new")
    assert link.is_symlink() and kept.read_bytes() == os.read(reader, 9) == b"new"
    assert pipe.is_fifo()
    os.close(reader)
    with (tmp_path / "out").open("w+b") as file:  # /dev/stdout leads here, too
        write_out(Path(f"/dev/fd/{file.fileno()}"), b"through a name of an open file")
        assert file.read() == b"through a name of an open file"
    assert names(tmp_path) == ["kept.csv", "link.csv", "out", "pipe"]


def test_reading_is_bounded(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(VerificationError, match="larger than 4 bytes"):
        read_bounded(path, 4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(VerificationError, match="not a regular file"):
        read_bounded(tmp_path / "record.json", 10)


@pytest.mark.parametrize("path", ["missing", "."])
def test_what_cannot_be_read(tmp_path, path):
    with pytest.raises(VerificationError):
        read_bounded(tmp_path / Path(path), 10)
