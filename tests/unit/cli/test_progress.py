"""The display: a bar for each cell, and never the end of a run."""

import io
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ferbench.cli.progress import RunDisplay, cell_name
from ferbench.contract.events import Epoch, Finished, Notice, Started, Step
from ferbench.contract.executor import Job
from ferbench.discovery.loader import load_registry
from ferbench.records.cell import Budget, Cell
from tests.unit.records.factory import make_row

OK = Finished(status="ok", metrics={"accuracy": 0.5, "balanced_accuracy": 0.4}, wall_seconds=1.0)


def job(**fields: Any) -> Job:
    values = {
        "protocol": "ratio-v1",
        "dataset": "patterns",
        "method": "fixmatch",
        "backbone": "small-resnet",
        "seed": 0,
    }
    cell = Cell(**{**values, "budget": Budget(ratio="0.1"), **fields})
    return Job(cell.model_dump(mode="json"), {}, "patterns", None, None, Path("runs"), "cpu", 1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_cells_of_equal_names_have_their_own_bars(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    jobs = [job(), job(backbone="timm/resnet18"), job(overrides={"method": {"threshold": 0.7}})]
    with RunDisplay(jobs, load_registry()) as display:
        for one in jobs:
            display(one, Started())
        for one in jobs:
            display(one, Step(step=5, steps=20))
            display(one, Epoch(row=make_row(5)))
            display(one, Notice(text="careful"))
            display(one, OK)
    shown = out.getvalue()
    assert "[3/3] fixmatch patterns ratio-0.1 small-resnet seed 0: accuracy 50.0 %" in shown
    assert "[2/3] fixmatch patterns ratio-0.1 timm/resnet18 seed 0" in shown
    assert shown.count(": careful") == 1


def test_at_80_columns_count_and_time_left_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the first cell has ended."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    jobs = [job(seed=seed) for seed in range(4)]
    with RunDisplay(jobs, load_registry()) as display:
        for step in range(1, 20):
            display(jobs[0], Step(step=step, steps=20))
            time.sleep(0.02)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80
    all_cells, one = (next(line for line in reversed(lines) if text in line) for text in ("all cells", "seed 0"))
    assert re.search(r" 0/4 +\d\d:\d\d", all_cells)
    assert re.search(r" 19/20 +\d\d:\d\d", one)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the display sees."""
    now = [0.0]
    monkeypatch.setattr("ferbench.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_the_time_left_counts_from_the_first_step_and_is_told_each_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster may take its time to begin."""
    told: list[float] = []
    with RunDisplay([job(seed=seed) for seed in range(4)], load_registry(), told.append) as display:
        display(job(), Notice(text="submitted"))
        clock[0] = 3600.0
        display(job(), Started())
        display(job(), Step(step=0, steps=20))
        for later, step in ((29, 2), (30, 5), (60, 6), (89, 6), (90, 10)):
            clock[0] = 3600.0 + later
            display(job(), Step(step=step, steps=20))
    lines = re.findall("about (.*) left", capsys.readouterr().out)
    assert lines == ["8 min", "10 min"]  # 30 s for 1/4 of 4 cells, 90 s for 1/2: 450 s, 630 s
    assert told == [450.0]


def test_what_a_checkpoint_had_is_not_counted_as_quick(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with RunDisplay([job()], load_registry()) as display:
        display(job(), Step(step=80, steps=100))
        clock[0] = 100.0
        display(job(), Step(step=90, steps=100))
    assert "about 2 min left" in capsys.readouterr().out


def test_a_cell_that_fails_before_its_first_step_tells_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    failure = Finished(status="failed", message="no memory", wall_seconds=1.0)
    with RunDisplay([job(seed=seed) for seed in range(3)], load_registry()) as display:
        display(job(), failure)
        clock[0] = 1000.0
        display(job(seed=1), Step(step=0, steps=100))
        clock[0] = 1040.0
        display(job(seed=1), Step(step=50, steps=100))
    assert "about 2 min left" in capsys.readouterr().out


def test_one_backbone_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with RunDisplay([job(), job(seed=1)], load_registry()) as display:
        display(job(seed=1), OK)
    assert "fixmatch patterns ratio-0.1 seed 1" in capsys.readouterr().out


def test_what_cannot_be_shown_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with RunDisplay([job()], load_registry()) as display:
        display(job(), Step(step=1, steps=2))
        display(job(), OK)
        display(job(seed=5), Step(step=1, steps=2))


def test_a_test_on_another_set_is_named() -> None:
    trained, tested = (Cell.model_validate(dict(job(**fields).cell)) for fields in ({}, {"test_on": "jaffe"}))
    assert cell_name(load_registry(), trained) == "fixmatch patterns ratio-0.1 seed 0"
    assert cell_name(load_registry(), tested) == "fixmatch patterns ratio-0.1 seed 0 on jaffe"
