"""A sweep that an earlier command has submitted, against commands of SLURM that are scripts."""

import os
from pathlib import Path

import pytest

from ferbench.contract.events import Event, Finished, event_line
from ferbench.contract.executor import Job
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
