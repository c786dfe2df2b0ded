import json
import os

import pytest

from ferbench.contract.events import Finished, Notice, Started, Step, event_line
from ferbench.records.cell_log import CELL_LOG, CellLog, newest_step, read_log


def test_events_come_back_with_their_times(tmp_path):
    log = CellLog(tmp_path)
    events = [Started(), Notice(text="two\nlines"), Finished(status="ok", wall_seconds=3.0)]
    for event in events:
        log(event)
    with (tmp_path / CELL_LOG).open("rb") as file:
        lines = list(read_log(file))
    assert [line.event for line in lines] == events
    assert all(line.time.endswith("+00:00") for line in lines)


def test_steps_are_noted_once_in_a_while(tmp_path):
    log = CellLog(tmp_path)
    for step in range(1, 100):
        log(Step(step=step, steps=100))
    assert newest_step(tmp_path) == (Step(step=1, steps=100), None)


def test_the_speed_is_that_of_the_attempt_that_runs(tmp_path):
    """Nine tenths were taken quickly, or on another machine; then 6 s each."""
    lines = [("10:00:00", Step(step=0, steps=1000)), ("10:01:00", Step(step=900, steps=1000))]
    lines += [
        ("12:00:00", Started()),
        ("12:00:05", Step(step=900, steps=1000)),
        ("12:01:05", Step(step=910, steps=1000)),
    ]
    with (tmp_path / CELL_LOG).open("w") as file:
        for time, event in lines:
            content = {"time": f"2026-12-01T{time}+00:00", **json.loads(event_line(event))}
            file.write(json.dumps(content) + "\n")
    assert newest_step(tmp_path) == (Step(step=910, steps=1000), pytest.approx(6000))


def test_a_line_that_is_not_whole_is_left_to_the_next_look(tmp_path):
    CellLog(tmp_path)(Started())
    with (tmp_path / CELL_LOG).open("ab") as file:
        file.write(b"no json\n" + b'{"time": "now", "kind": "notice", ')
    with (tmp_path / CELL_LOG).open("rb") as file:
        assert [line.event for line in read_log(file)] == [Started()]
        with (tmp_path / CELL_LOG).open("ab") as more:
            more.write(b'"text": "rest"}\n')
        assert [line.event for line in read_log(file)] == [Notice(text="rest")]


def test_no_log_has_no_step(tmp_path):
    assert newest_step(tmp_path) == (None, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_log_that_cannot_be_written_costs_nothing(tmp_path):
    tmp_path.chmod(0o500)
    CellLog(tmp_path)(Started())
