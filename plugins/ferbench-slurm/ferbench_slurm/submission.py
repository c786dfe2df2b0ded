"""Submits jobs as arrays of SLURM, with submitit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from ferbench.contract.executor import Job
from ferbench.errors import ExecutorError, UsageError
from ferbench_slurm.options import SlurmOptions
from ferbench_slurm.sweep import Sweep
from ferbench_slurm.unit import Unit


@dataclass(frozen=True)
class Submitted:
    """A submitted SLURM job."""

    job_id: str
    log: Path
    """The file of its output; `%a` in the name stands for the number of the task."""


def submit(
    sweep: Sweep,
    name: str,
    tasks: Sequence[Mapping[int, Job]],
    options: SlurmOptions,
    *,
    slots: int = 1,
    dependency: str = "",
) -> Submitted:
    """Submit a job with these cells in each task, `slots` tasks at a time; raises ExecutorError if SLURM refuses it."""
    executor = submitit.SlurmExecutor(sweep.logs, max_num_timeout=options.requeues)
    parameters = options.parameters(executor._valid_parameters())
    jobs = [job for task in tasks for job in task.values()]
    parameters.setdefault("cpus_per_task", max((job.threads * job.processes for job in jobs), default=1))
    if dependency:
        parameters["dependency"] = dependency
        parameters["additional_parameters"] |= {"kill-on-invalid-dep": "yes"}
    try:
        executor.update_parameters(**parameters, job_name=name, array_parallelism=slots)
        with executor.batch():
            submitted = [executor.submit(Unit.of(sweep, task, attempts=1 + options.retries)) for task in tasks]
        job_id = submitted[0].job_id
    except (FailedJobError, FailedSubmissionError) as error:
        raise ExecutorError(f"sbatch refuses the job: {_last_line(error)}; see --executor-option") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"--executor-option: submitit refuses the parameters ({_last_line(error)})") from None
    array, is_array, _ = job_id.partition("_")
    return Submitted(array, sweep.logs / (f"{array}_%a_0_log.out" if is_array else f"{array}_0_log.out"))


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
