"""What SLURM's tasks unpickle, and the folder in which they meet their executor."""

import json
import os
import pickle
import pickletools
from pathlib import Path

import cloudpickle
import pytest
from submitit.helpers import DelayedSubmission

from ferbench.contract.events import Finished, Started, event_line
from ferbench.contract.executor import Job
from ferbench_slurm.sweep import Sweep
from ferbench_slurm.unit import Unit

JOB = Job(
    cell={"method": "fixmatch", "seed": 1}, plan={}, dataset="faces", pool=None, init=None, runs=Path("runs"),
    device="cpu", threads=1,
)  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep.create(tmp_path, [JOB])


def test_nothing_is_pickled_but_a_class_by_its_name_and_json(sweep: Sweep) -> None:
    pickled = cloudpickle.dumps(DelayedSubmission(Unit.of(sweep, {0: JOB}, attempts=3)))
    words, named = [], []
    for code, word, _ in pickletools.genops(pickled):
        if code.name == "STACK_GLOBAL":
            named.append(tuple(words[-2:]))
        if "UNICODE" in code.name:
            words.append(word)
    assert set(named) == {("submitit.core.utils", "DelayedSubmission"), ("ferbench_slurm.unit", "Unit")}
    restored = pickle.loads(pickled).function
    assert Job.from_json(json.loads(restored.text)["jobs"][0][1]) == JOB


def test_the_probe_answers_in_the_folder_that_it_was_sent_from(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.getcwd())
    Unit.of(sweep, {}, attempts=1)()
    assert sweep.answer.exists()


def test_another_folder_of_that_name_is_noticed(sweep: Sweep) -> None:
    (sweep.folder / "token").write_text("another")
    with pytest.raises(RuntimeError, match="not the folder"):
        Unit.of(sweep, {0: JOB}, attempts=1)()
    assert not sweep.events(0).exists()


def test_a_cell_that_has_ended_is_not_run_again(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a job of several cells is requeued: the job would fail, as its cell is none."""
    monkeypatch.chdir(os.getcwd())
    told = (event_line(Started()), event_line(Finished(status="diverged")))
    sweep.events(0).write_bytes(b"\n".join(told) + b"\n")
    before = sweep.events(0).read_bytes()
    Unit.of(sweep, {0: JOB}, attempts=1)()
    assert sweep.events(0).read_bytes() == before


def test_a_plan_is_read_again_and_a_folder_without_one_is_no_sweep(sweep: Sweep, tmp_path: Path) -> None:
    name = sweep.add_array([[0]])
    (tmp_path / ".slurm" / "other").mkdir()
    for number, broken in enumerate(['{"cells": 1}', "{", '{"cells": ["a"], "arrays": {"b": [[1]]}}']):
        (tmp_path / ".slurm" / str(number)).mkdir()
        (tmp_path / ".slurm" / str(number) / "plan.json").write_text(broken)
    (found,) = Sweep.all_in(tmp_path)
    assert found.plan == sweep.plan and found.plan.arrays == {name: [[0]]}
    assert sweep.folder.stat().st_mode & 0o077 == 0
