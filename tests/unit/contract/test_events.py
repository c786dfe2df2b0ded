"""Events in a file that grows, and in a pipe."""

import os
from pathlib import Path

from ferbench.contract.events import Finished, Started, Step, event_line, read_events

STEP, END = Step(step=3, steps=20), Finished(status="ok", metrics={"accuracy": 0.5}, wall_seconds=1.5)


def test_a_growing_file_gives_each_event_once_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as written, path.open("rb") as read:
        assert list(read_events(read)) == []
        written.write(event_line(Started()) + b"\n" + event_line(STEP)[:9])
        assert list(read_events(read)) == [Started()]
        assert list(read_events(read)) == []
        written.write(event_line(STEP)[9:])
        assert list(read_events(read)) == []
        written.write(b"\n" + event_line(END) + b"\n")
        assert list(read_events(read)) == [STEP, END]


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"a library\n\n[1]\n\xff\n" + b"[" * 100_000 + b'\n{"kind": "other"}\n' + event_line(END) + b"\n")
    with path.open("rb") as file:
        assert list(read_events(file)) == [END]


def test_a_pipe_gives_its_events_until_it_ends() -> None:
    out, into = os.pipe()
    with os.fdopen(into, "wb") as written:
        written.write(event_line(STEP) + b"\n" + event_line(END) + b'\n{"kind": "st')
    with os.fdopen(out, "rb") as read:
        assert list(read_events(read)) == [STEP, END]
