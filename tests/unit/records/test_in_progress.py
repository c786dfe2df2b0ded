"""Whoever takes a cell over has a folder of its own, with what its predecessors have kept."""

from pathlib import Path

import pytest

from ferbench.records.in_progress import claim, folders_in_progress, said_file

OLD, NEW = "a" * 32, "b" * 32


def keep(folder: Path, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        said_file(folder, epoch).parent.mkdir(exist_ok=True)
        said_file(folder, epoch).write_bytes(b"%d" % epoch)


def test_the_successor_has_what_was_kept_and_the_predecessor_has_no_folder(tmp_path: Path) -> None:
    old = claim(tmp_path, OLD)
    keep(old, epochs=2)
    new = claim(tmp_path, NEW)
    assert new != old and folders_in_progress(tmp_path) == [new]
    assert said_file(new, 2).read_bytes() == b"2"
    with pytest.raises(FileNotFoundError):
        said_file(old, 3).write_bytes(b"3")


def test_of_several_that_killed_processes_have_left_the_fullest_is_continued(tmp_path: Path) -> None:
    """A process that wakes after a takeover, and is killed then, leaves a second one."""
    for name, epochs in (("in-progress", 3), ("in-progress-00000000", 0), ("in-progress-ffffffff", 1)):
        (tmp_path / name).mkdir()
        keep(tmp_path / name, epochs)
    mine = claim(tmp_path, NEW)
    assert folders_in_progress(tmp_path) == [mine]
    assert said_file(mine, 3).is_file()
