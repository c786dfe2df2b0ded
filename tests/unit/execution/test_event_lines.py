"""Events on a disk that is full."""

import errno
import os
from pathlib import Path

import pytest

from ferbench.contract.events import Event, Finished, Notice, Step, read_events
from ferbench.execution import event_lines
from ferbench.execution.event_lines import EventLines


def test_on_a_full_disk_only_the_last_event_is_an_error() -> None:
    emit = EventLines(Path("/dev/full"))
    emit(Notice(text="this one is lost"))
    with pytest.raises(OSError, match="No space left"):
        emit(Finished(status="ok"))


def test_events_after_a_torn_one_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events"
    emit, write, room = EventLines(path), os.write, [5, 0]

    def short(descriptor: int, data: bytes) -> int:
        if not (left := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:left])

    kept: list[Event] = [Step(step=2, steps=9), Finished(status="ok")]
    with monkeypatch.context() as patch:
        patch.setattr(event_lines.os, "write", short)
        emit(Step(step=1, steps=9))
    for event in kept:
        emit(event)
    with path.open("rb") as file:
        assert list(read_events(file)) == kept
