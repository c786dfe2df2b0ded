"""Options become a script of sbatch, or an error that says what to write."""

from pathlib import Path
from typing import Any

import pytest
import submitit

from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.executors import make_executor
from ferbench_slurm.options import SlurmOptions


def script(tmp_path: Path, options: dict[str, Any]) -> list[str]:
    """What submitit would give to sbatch."""
    if not submitit.SlurmExecutor.affinity() > 0:
        pytest.skip("submitit wants an srun, and SLURM is not installed here")
    executor = submitit.SlurmExecutor(tmp_path)
    executor.update_parameters(**SlurmOptions(**options).parameters(executor._valid_parameters()))
    return executor._make_submission_file_text("true", "1").splitlines()


def test_what_sbatch_is_given(tmp_path: Path) -> None:
    given = {"partition": 7, "gres": "gpu:1", "time": 90, "setup": "module load cuda", "slurm_exclude": "n[1-2]"}
    lines = script(tmp_path, {**given, "slurm_reservation": "paper", "slurm_no_kill": True})
    for flag in ("partition=7", "gres=gpu:1", "time=90", "exclude='n[1-2]'", "reservation=paper", "no-kill", "requeue"):
        assert f"#SBATCH --{flag}" in lines
    assert "#SBATCH --signal=USR2@90" in lines
    assert lines.index("module load cuda") < next(number for number, line in enumerate(lines) if "srun" in line)


@pytest.mark.parametrize(
    ("options", "size"), [({}, 1), ({"cells_per_job": 4}, 4), ({"cell_minutes": 2}, 8), ({"cell_minutes": 40}, 1)]
)
def test_a_job_runs_at_least_fifteen_minutes(options: dict[str, Any], size: int) -> None:
    assert SlurmOptions(**options).group_size == size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partitoin": "gpu"}, "did you mean 'partition'"),
        ({"slurm_partition": "gpu"}, "write partition instead of slurm_partition"),
        ({"slurm_nodes": 2}, "slurm_nodes cannot be set: a cell has one node"),
        ({"slurm_array_parallelism": 2}, "use --jobs"),
        ({"time": 5}, "greater than or equal to 15"),
        ({"cells_per_job": 2, "cell_minutes": 3}, "keep one"),
        ({"slurm_x\n#SBATCH": "a"}, "no such option"),
    ],
)
def test_what_is_refused(registry: Registry, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match="--executor-option") as caught:
        make_executor(registry, "slurm", options)
    assert said in str(caught.value)
