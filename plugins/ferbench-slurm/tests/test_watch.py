"""A sweep that an earlier command has submitted, against commands of SLURM that are scripts."""

import os
from pathlib import Path

import pytest

from ferbench.contract.events import Event, Finished, Notice, event_line
from ferbench.contract.executor import Job
from ferbench.errors import ExecutorError, UsageError
from ferbench_slurm import executor
from ferbench_slurm.executor import SlurmExecutor
from ferbench_slurm.options import SlurmOptions
from ferbench_slurm.sweep import Sweep

SBATCH = """\
for file; do sweep=$(dirname "$(dirname "$file")"); done
echo '{"kind": "finished", "status": "ok"}' >> "$sweep/cells/0.jsonl"
echo Submitted batch job 18"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs stand before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(executor, "ASK_SECONDS", 0.02)
    monkeypatch.setattr(executor, "LATE_SECONDS", 0.1)
    for name, script in (("scontrol", "echo MaxArraySize = 10"), ("sbatch", SBATCH), ("srun", "exit 1")):
        write(tmp_path / name, script)
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_cancelled_cell_that_is_requested_again_runs_when_its_old_job_is_over(commands: Path) -> None:
    """The old job works on, as it has other cells."""
    job = Job({"seed": 1}, {}, "faces", None, None, commands / "runs", "cpu", 1)
    earlier = Sweep.create(job.runs, [job])
    name = earlier.add_array([[0]])
    earlier.events(0).write_bytes(event_line(Finished(status="interrupted", message="cancelled")) + b"\n")
    state = f"[ -e {commands}/asked ] && state=COMPLETED || state=RUNNING; touch {commands}/asked"
    write(commands / "squeue", f'{state}\necho "{name}|0|$state|17|None"')
    events: list[Event] = []
    assert SlurmExecutor(SlurmOptions()).run([job], lambda job, event: events.append(event), 1) == ["ok"]
    assert events[-1] == Finished(status="ok")


@pytest.fixture
def two(commands: Path) -> list[Job]:
    """Two cells; a job of an earlier command runs the first one."""
    jobs = [Job({"seed": seed}, {}, "faces", None, None, commands / "runs", "cpu", 1) for seed in (1, 2)]
    name = Sweep.create(jobs[0].runs, jobs[:1]).add_array([[0]])
    write(commands / "squeue", f'case "$*" in *{name}*) echo "{name}|0|RUNNING|17|None";; esac')
    write(commands / "scancel", f'echo "$@" >> {commands}/cancelled')
    return jobs


def test_a_failed_probe_cancels_no_job_of_an_earlier_command(commands: Path, two: list[Job]) -> None:
    write(commands / "sbatch", "echo Submitted batch job 18")
    with pytest.raises(UsageError, match="do not see this folder"):
        SlurmExecutor(SlurmOptions()).run(two, lambda job, event: None, 1)
    assert not (commands / "cancelled").exists()


def test_what_slurm_refuses_while_others_run_is_submitted_again(commands: Path, two: list[Job]) -> None:
    """As with a limit of jobs, or while the controller restarts."""
    (earlier,) = Sweep.all_in(two[0].runs)
    end = event_line(Finished(status="ok")).decode()
    write(
        commands / "sbatch",
        f"""[ -e {commands}/later ] || {{ touch {commands}/later; echo 'MaxSubmitJobs reached' >&2; exit 1; }}
for file; do sweep=$(dirname "$(dirname "$file")"); done
touch "$sweep/answer"; echo '{end}' >> "$sweep/cells/1.jsonl"; echo '{end}' >> {earlier.events(0)}
echo Submitted batch job 18""",
    )
    told: list[Event] = []
    assert SlurmExecutor(SlurmOptions()).run(two, lambda job, event: told.append(event), 1) == ["ok", "ok"]
    assert any(isinstance(event, Notice) and "is submitted again later" in event.text for event in told)


def test_what_slurm_refuses_while_nothing_runs_is_an_error(commands: Path, two: list[Job]) -> None:
    write(commands / "sbatch", "echo 'invalid partition' >&2; exit 1")
    with pytest.raises(ExecutorError, match="invalid partition"):
        SlurmExecutor(SlurmOptions()).run(two[1:], lambda job, event: None, 1)


def test_a_job_that_slurm_holds_after_its_cells_are_done_is_cancelled(commands: Path) -> None:
    """It had ended while the controller was restarted."""
    job = Job({"seed": 1}, {}, "faces", None, None, commands / "runs", "cpu", 1)
    held = "launch failed requeued held"
    write(
        commands / "squeue",
        f"""case "$*" in *probe*) sweep=$(ls {job.runs}/.slurm)
touch {job.runs}/.slurm/$sweep/answer; echo "ferbench-$sweep-probe|N/A|PENDING|17|{held}";; esac""",
    )
    write(commands / "scancel", f'echo "$@" >> {commands}/cancelled')
    assert SlurmExecutor(SlurmOptions()).run([job], lambda job, event: None, 1) == ["ok"]
    assert (commands / "cancelled").read_text() == "17\n"
    assert not (job.runs / ".slurm").exists()
