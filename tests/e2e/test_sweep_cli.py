"""A sweep seen from anywhere: in the background, its logs, cancelling, what is run again."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from ferbench.contract.events import Step
from ferbench.records.cell_log import CellLog
from ferbench.records.plans import Plan, read_plans, write_plan
from ferbench.records.store import RunStore, ask_to_stop
from tests.e2e.test_run_cli import SMALL
from tests.support.command import call, succeed
from tests.unit.records.factory import make_cell, write_failure, write_record
from tests.unit.records.test_store import leave

GRID = ("--method", "supervised@weak", "--ratio", "0.1")


@pytest.fixture
def run(patterns: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    def call_run(*arguments: str, steps: int = 20):  # type: ignore[no-untyped-def]
        small = (f"--set=steps={steps}", *SMALL[1:])
        return call("run", "--dataset", str(patterns), "--runs", str(tmp_path / "runs"), *small, *GRID, *arguments)

    return call_run


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.fixture
def background() -> Iterator[list[int]]:
    """Processes that must be gone in the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if psutil.pid_exists(pid):
            psutil.Process(pid).terminate()


LONG = """
import sys
from ferbench.cli import main, progress, run
progress.MEASURED_SECONDS, run.ASKED_HOURS, run.ANSWER_SECONDS = 0.5, 0, {seconds}
sys.exit(main.main())
"""
"""The command, as if all that is left were long."""


@pytest.mark.process
@pytest.mark.parametrize(("answer", "seconds", "code"), [("n", 60, 130), (None, 0.1, 0)])
def test_at_a_terminal_a_long_run_is_asked_for_once_its_steps_tell(
    patterns: Path, tmp_path: Path, answer: str | None, seconds: float, code: int
) -> None:
    """It saves and stops for a no, and goes on if nobody answers."""
    runs = tmp_path / "runs"
    size = (*SMALL[1:], "--set=steps=600", "--set=evaluations=1")
    options = ("--dataset", str(patterns), "--runs", str(runs), *size, *GRID)
    with pexpect.spawn(sys.executable, ["-c", LONG.format(seconds=seconds), "run", *options], timeout=120) as terminal:
        terminal.expect_exact("left, according to the first steps; go on?")
        if answer is not None:
            terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == code
    assert len(list(runs.rglob("checkpoint.safetensors" if code else "record.json"))) == 1


@pytest.mark.process
def test_in_the_background_it_is_seen_cancelled_and_goes_on(run, tmp_path: Path, background: list[int]) -> None:  # type: ignore[no-untyped-def]
    runs = tmp_path / "runs"
    begun = run("--seed", "0,1", "--detach", steps=100_000)
    assert begun.code == 0, begun.out + begun.err
    background.append(int(re.search(r"process (\d+)", begun.out)[1]))  # type: ignore[index]

    def counts() -> dict[str, int]:
        (cells,) = json.loads(succeed("status", "--runs", str(runs), "--json"))["cells"]
        return cells

    assert counts()["waiting"] == 2
    wait_until(lambda: counts()["running"] == 1)
    wait_until(lambda: "step" in call("logs", "seed0", "--runs", str(runs)).out)
    assert counts()["waiting"] == 1
    shown = succeed("cancel", "--runs", str(runs))
    assert "1 running cell" in shown and "1 will not start" in shown
    wait_until(lambda: not psutil.pid_exists(background[0]) or psutil.Process(background[0]).status() == "zombie")
    assert counts().get("running", 0) == 0
    assert list(runs.rglob("checkpoint.safetensors"))
    assert "interrupted: cancelled" in succeed("logs", "seed0", "--runs", str(runs))
    assert not list(runs.rglob(".lease*"))

    again = run("--seed", "1")  # asking again withdraws it
    assert again.code == 0, again.out + again.err


@pytest.mark.process
def test_detach_in_a_file_begins_one_process_which_heeds_an_early_cancel(  # type: ignore[no-untyped-def]
    run, tmp_path: Path, background: list[int]
) -> None:
    runs, config = tmp_path / "runs", tmp_path / "sweep.toml"
    config.write_text("[run]\ndetach = true\n")
    begun = run("--seed", "0,1", "--config", str(config))
    assert begun.code == 0, begun.out + begun.err
    background.append(int(re.search(r"process (\d+)", begun.out)[1]))  # type: ignore[index]
    assert "2 will not start" in succeed("cancel", "--runs", str(runs))
    wait_until(lambda: not psutil.pid_exists(background[0]) or psutil.Process(background[0]).status() == "zombie")
    (log,) = (runs / ".plans").glob("*.log")
    assert "continues in the background" not in log.read_text()
    assert log.read_text().count("interrupted: cancelled") == 2
    (cells,) = json.loads(succeed("status", "--runs", str(runs), "--json"))["cells"]
    assert (cells["done"], cells["waiting"]) == (0, 0), "nobody waits for what is cancelled"


def test_with_nothing_to_run_nothing_goes_to_the_background(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("--seed", "0", "--executor", "inline", steps=2).code == 0
    shutil.rmtree(tmp_path / "runs" / ".plans")
    again = run("--seed", "0", "--executor", "inline", "--detach", steps=2)
    assert again.code == 0, again.err
    assert "1 cached, 0 to run" in again.out and "background" not in again.out


@pytest.mark.process
def test_failures_are_tried_again_and_chosen_alone(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "runs").mkdir()
    failed = run("--seed", "0", "--init", "scratch", "--timeout", "0.001")
    assert failed.code == 1
    missing = run("--seed", "0,1", "--only", "missing")
    assert "0 cached, 1 to run" in missing.out, missing.out + missing.err
    looked = run("--seed", "0,1,2", "--only", "failed", "--dry-run")
    assert "3 cells, 1 to run" in looked.out and looked.out.count("left out") == 1
    only = run("--seed", "0,1", "--only", "failed")
    assert "1 cached, 1 to run" in only.out
    assert only.code == 0
    assert "about" in run("--seed", "2,3", "--limit", "1").out  # what it costs, by the records that are there
    assert [len(plan.cells) for plan in read_plans(tmp_path / "runs")] == [1, 1, 1]


def test_a_result_that_is_out_of_date_is_neither_failed_nor_missing(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("--seed", "0", "--executor", "inline", steps=2).code == 0
    next((tmp_path / "runs").rglob("history.*")).unlink()  # as one that is not whole, or of other data
    for only, wanted in (("failed", 0), ("missing", 0)):
        assert f"1 cell, {wanted} to run" in run("--seed", "0", "--only", only, "--dry-run", steps=2).out
    assert "1 cell, 1 to run" in run("--seed", "0", "--dry-run", steps=2).out


def test_a_run_removes_what_killed_processes_have_left_beside_results(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("--seed", "0", steps=2).code == 0
    folder = next((tmp_path / "runs").rglob("record.json")).parent
    before = sorted(folder.rglob("*"))
    leave(folder)
    names = ".ferbench-runs.json.0.tmp", ".plans/.a.json.0.tmp", ".new.tmp"
    unfinished = [tmp_path / "runs" / name for name in names]
    for path, age in zip(unfinished, (7200, 7200, 0), strict=True):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    assert run("--seed", "0", "--dry-run", steps=2).code == 0
    assert (folder / "running.json").exists(), "a dry run writes nothing"
    assert run("--seed", "0", steps=2).code == 0
    assert sorted(folder.rglob("*")) == before
    assert [path.exists() for path in unfinished] == [False, False, True], "somebody may still write the new one"


def test_a_cell_that_nobody_has_is_named(tmp_path: Path) -> None:
    for command in (("logs", "nothing"), ("cancel", "nothing")):
        shown = call(*command, "--runs", str(tmp_path))
        assert shown.code == 2
        assert "nothing" in shown.err


def test_who_is_named_is_cancelled_and_nobody_else(tmp_path: Path) -> None:
    cells = [make_cell(seed=seed) for seed in (0, 1, 10, 11)]
    write_plan(tmp_path, Plan(command=("run",), executor="local", slots=1, made_at="2026-01-01", cells=tuple(cells)))
    assert call("cancel", "", "--runs", str(tmp_path)).code == 2
    assert "1 will not start" in succeed("cancel", "seed1", "--runs", str(tmp_path))
    store = RunStore(tmp_path)
    assert [store.is_cancelled(cell) for cell in cells] == [False, True, False, False]
    store.folder(cells[2]).write_text("a file where the folder must be")
    done = call("cancel", "--runs", str(tmp_path))
    assert done.code == 4 and "1 cell could not be asked" in done.err and "seed10" in done.err
    assert [store.is_cancelled(cell) for cell in cells] == [True, True, False, True]


def test_a_runs_folder_of_another_format_is_refused_before_anything_starts(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ferbench-runs.json").write_text('{"format": 99}')
    for more in ((), ("--dry-run",)):
        refused = run("--seed", "0", *more, steps=2)
        assert refused.code == 4 and "99" in refused.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["ferbench-runs.json"]


def test_a_broken_record_of_another_cell_does_not_cost_the_table(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    runs = tmp_path / "runs"
    assert run("--seed", "0", steps=2).code == 0
    next(runs.rglob("record.json")).write_text("{")
    shown = run("--seed", "0,1", "--only", "missing", steps=2)
    assert shown.code == 0, shown.err
    assert re.search("seed0 +broken", shown.out) and "seed1/record.json" in shown.out


def test_with_nothing_to_cancel_nothing_is_asked(tmp_path: Path) -> None:
    assert "0 running cells" in succeed("cancel", "--runs", str(tmp_path))


def test_what_failed_or_was_interrupted_and_waits_again_is_cancelled_too(tmp_path: Path) -> None:
    store, cells = RunStore(tmp_path), [make_cell(seed=seed) for seed in range(4)]
    write_record(tmp_path, cells[0])
    write_failure(tmp_path, cells[1])
    with pytest.raises(KeyboardInterrupt), store.lock(cells[2]):
        raise KeyboardInterrupt
    write_plan(tmp_path, Plan(command=(), executor="local", slots=1, made_at="", cells=tuple(cells[1:])))
    assert "3 will not start" in succeed("cancel", "--runs", str(tmp_path))
    assert [store.is_cancelled(cell) for cell in cells] == [False, True, True, True]
    assert "0 running, 2 interrupted, 0 waiting" in succeed("status", "--runs", str(tmp_path))


def test_a_part_of_a_runs_folder_is_served_too(tmp_path: Path) -> None:
    store, (one, other) = RunStore(tmp_path), [make_cell(method, 0) for method in ("fixmatch", "supervised")]
    part = store.folder(one).parent
    with store.lock(one), store.lock(other):
        CellLog(store.folder(one))(Step(step=3, steps=9))
        assert "step 3 of 9" in succeed("status", "--runs", str(part))
        assert "step 3 of 9" in succeed("logs", "seed0", "--runs", str(part))
        assert "asked 1 running cell" in succeed("cancel", "--runs", str(part))
    assert store.is_cancelled(one) and not store.is_cancelled(other)


def test_a_cancelled_cell_does_not_begin(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    store = RunStore(tmp_path / "runs")
    monkeypatch.setattr(RunStore, "allow", lambda self, cell: ask_to_stop(self.folder(cell)))  # somebody is quicker
    shown = run("--seed", "0", "--executor", "inline")
    assert shown.code == 130
    assert "cancelled" in shown.out
    assert list(store.iterate()) == []
