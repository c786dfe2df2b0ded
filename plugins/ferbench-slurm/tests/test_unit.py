"""What SLURM's tasks unpickle, and the folder in which they meet their executor."""

import json
import os
import pickle
import pickletools
from pathlib import Path

import cloudpickle
import pytest
from submitit.helpers import DelayedSubmission

from ferbench.cells.request import RunRequest
from ferbench.contract.events import Finished, Started, event_line
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.execution.plan import make_plan
from ferbench.records.store import RunStore, ask_to_stop
from ferbench_slurm import unit
from ferbench_slurm.sweep import Sweep
from ferbench_slurm.unit import Unit

JOB = Job(
    cell={"method": "fixmatch", "seed": 1}, plan={}, dataset="faces", pool=None, init=None, runs=Path("runs"),
    device="cpu", threads=1,
)  # fmt: skip

OK, INTERRUPTED = Finished(status="ok"), Finished(status="interrupted")


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


@pytest.mark.process
def test_cancelled_cells_do_not_keep_the_job(
    registry: Registry, patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is about to end the job, so it must not wait for that."""
    request = RunRequest(
        methods=["supervised"], datasets=[str(patterns)], ratios=["0.1"], seeds=[0, 1], runs=tmp_path,
        backbones=["small-resnet/4"], overrides={"image_size": 16}, device="cpu",
    )  # fmt: skip
    plan = make_plan(request, registry, check_data=False)
    for item in plan:
        ask_to_stop(RunStore(tmp_path).folder(item.cell))
    monkeypatch.chdir(os.getcwd())
    monkeypatch.setattr(unit, "KILL_SECONDS", 3600)
    sweep = Sweep.create(tmp_path, [item.job for item in plan])
    Unit.of(sweep, {number: item.job for number, item in enumerate(plan)}, attempts=1)()
    endings = [sweep.ending(number) for number in range(2)]
    assert [ending and (ending.status, ending.message.split(";")[0]) for ending in endings] == [
        ("interrupted", "cancelled")
    ] * 2


def test_how_a_cell_has_ended(sweep: Sweep) -> None:
    """One whose job was requeued goes on, whatever it told before."""
    assert sweep.ending(0) is None
    for event, ending in ((Started(), None), (INTERRUPTED, INTERRUPTED), (Started(), None), (OK, OK)):
        with sweep.events(0).open("ab") as file:
            file.write(event_line(event) + b"\n")
        assert sweep.ending(0) == ending


def test_a_plan_is_read_again_and_a_folder_without_one_is_no_sweep(sweep: Sweep, tmp_path: Path) -> None:
    name = sweep.add_array([[0]])
    (tmp_path / ".slurm" / "other").mkdir()
    for number, broken in enumerate(['{"cells": 1}', "{", '{"cells": ["a"], "arrays": {"b": [[1]]}}']):
        (tmp_path / ".slurm" / str(number)).mkdir()
        (tmp_path / ".slurm" / str(number) / "plan.json").write_text(broken)
    (found,) = Sweep.all_in(tmp_path)
    assert found.plan == sweep.plan and found.plan.arrays == {name: [[0]]}
    assert sweep.folder.stat().st_mode & 0o077 == 0
