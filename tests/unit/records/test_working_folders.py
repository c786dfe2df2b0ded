"""Whoever takes a lease over has a working folder of its own, with what its predecessors have kept."""

from pathlib import Path

import pytest

from ferbench.records.in_progress import IN_PROGRESS, said_file, snapshot_file
from ferbench.records.lease import Lease


def keep(folder: Path, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        for path in (said_file(folder, epoch), snapshot_file(folder, epoch)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%d" % epoch)


def owner(cell: Path) -> Lease:
    return Lease(cell / ".lease")


def folders(cell: Path) -> list[Path]:
    return sorted(cell.iterdir())


def test_the_successor_has_what_was_kept_and_the_predecessor_has_no_folder(tmp_path: Path) -> None:
    old = owner(tmp_path).claim(IN_PROGRESS)
    keep(old, epochs=2)
    new = owner(tmp_path).claim(IN_PROGRESS)
    assert new != old and folders(tmp_path) == [new]
    assert said_file(new, 2).read_bytes() == b"2"
    with pytest.raises(FileNotFoundError):
        said_file(old, 3).write_bytes(b"3")


def test_of_several_that_killed_processes_have_left_the_fullest_is_continued(tmp_path: Path) -> None:
    """A process that wakes after a takeover, and is killed then, leaves a second one."""
    for name, epochs in (("00000000", 3), ("77777777", 0), ("ffffffff", 1)):
        (tmp_path / f"in-progress-{name}").mkdir()
        keep(tmp_path / f"in-progress-{name}", epochs)
    mine = owner(tmp_path).claim(IN_PROGRESS)
    assert folders(tmp_path) == [mine]
    assert said_file(mine, 3).is_file()


def test_a_loser_removes_its_own_folder_but_not_what_its_successor_has_not_claimed_yet(tmp_path: Path) -> None:
    loser = owner(tmp_path)
    old = loser.claim(IN_PROGRESS)
    keep(old, epochs=2)
    loser.withdraw(IN_PROGRESS)
    new = owner(tmp_path).claim(IN_PROGRESS)
    assert said_file(new, 2).is_file()
    keep(old, epochs=1)  # written again after it has lost
    loser.withdraw(IN_PROGRESS)
    assert folders(tmp_path) == [new]
