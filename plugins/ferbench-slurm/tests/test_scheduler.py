"""What SLURM's commands print is read, and their silence told."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ferbench.contract.executor import Job
from ferbench.errors import ExecutorError, UsageError
from ferbench_slurm import scheduler
from ferbench_slurm.executor import SlurmExecutor
from ferbench_slurm.options import SlurmOptions
from ferbench_slurm.scheduler import TaskState

SQUEUE = """\
ferbench-a-0|1|RUNNING|17|None
ferbench-a-0|2|PENDING|17|launch failed requeued held
ferbench-a-0|0|COMPLETED|17|None
ferbench-a-probe|N/A|PENDING|16|Resources
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs stand before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_states_of_tasks(commands: Path) -> None:
    (commands / "out").write_text(SQUEUE)
    write(commands / "squeue", f"cat {commands}/out")
    states = scheduler.task_states(["ferbench-a-0", "ferbench-a-probe"])
    assert states[("ferbench-a-0", 1)] == TaskState("RUNNING", "None", "17")
    assert states[("ferbench-a-0", 2)].is_stuck and not states[("ferbench-a-probe", 0)].is_stuck
    assert [task for task, state in states.items() if state.is_over] == [("ferbench-a-0", 0)]


def test_what_is_over_is_not_cancelled(commands: Path) -> None:
    """scancel takes one name alone, so that jobs are named by their numbers."""
    (commands / "out").write_text(SQUEUE + "ferbench-b-0|0|FAILED|18|None\n")
    write(commands / "squeue", f"cat {commands}/out")
    write(commands / "scancel", f'echo "$@" > {commands}/cancelled')
    scheduler.cancel(["ferbench-a-0", "ferbench-a-probe", "ferbench-b-0"])
    assert (commands / "cancelled").read_text() == "16 17\n"


def test_the_largest_array(commands: Path) -> None:
    write(commands / "scontrol", "echo 'MaxArraySize            = 40001'")
    assert scheduler.largest_array() == 40001


def test_a_site_without_arrays_is_refused(commands: Path) -> None:
    write(commands / "scontrol", "echo 'MaxArraySize            = 0'")
    with pytest.raises(ExecutorError, match="no job arrays"):
        scheduler.largest_array()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(cell={}, plan={}, dataset="", pool=None, init=None, runs=tmp_path / "runs", device="cpu", threads=1)


def test_a_controller_that_does_not_answer(commands: Path, job: Job) -> None:
    """It is asked before data is packed, too."""
    write(commands / "scontrol", "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1")
    silent = r"SLURM does not answer 'scontrol show config' .*Unable to contact"
    with pytest.raises(ExecutorError, match=silent):
        SlurmExecutor().places([job], None)
    with pytest.raises(ExecutorError, match=silent):
        SlurmExecutor().run([job], lambda job, event: None, 1)
    assert not job.runs.exists()


def test_a_job_of_several_cells_is_one_place(commands: Path, job: Job) -> None:
    write(commands / "scontrol", "echo 'MaxArraySize = 1001'")
    executor = SlurmExecutor(SlurmOptions(cells_per_job=4))
    assert [executor.places([job] * 10, wanted) for wanted in (None, 2, 40)] == [1, 2, 3]
    assert SlurmExecutor().places([job] * 10, 40) == 10
    assert SlurmExecutor().places([], 40) == 1


def test_a_gpu_that_slurm_chooses_is_not_chosen_twice(commands: Path, job: Job) -> None:
    write(commands / "scontrol", "echo 'MaxArraySize = 10'")
    with pytest.raises(UsageError, match="--device cuda:1: SLURM chooses the GPUs"):
        SlurmExecutor(SlurmOptions(gres="gpu:1")).places([replace(job, device="cuda:1")], None)
    assert SlurmExecutor(SlurmOptions(gres="gpu:1")).places([replace(job, device="cuda")], None) == 1
    assert SlurmExecutor(SlurmOptions()).places([replace(job, device="cuda:1")], None) == 1, "whole nodes, perhaps"


def test_a_controller_that_hangs(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 0.2)
    write(commands / "scontrol", "exec sleep 20")
    with pytest.raises(ExecutorError, match=r"nothing within 0 s"):
        scheduler.largest_array()


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match="there is no command 'scontrol'"):
        scheduler.largest_array()
