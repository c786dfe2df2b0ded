"""The places of this machine where cells run side by side: each has its own GPUs, or its part of the processor."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ferbench.contract.executor import Job
from ferbench.errors import UsageError
from ferbench.execution.devices import VISIBLE, gpus_of, visible_gpus


@dataclass(frozen=True)
class Slot:
    """One cell at a time runs here. `gpus` are what it sees, as CUDA_VISIBLE_DEVICES names them; none on the CPU."""

    gpus: tuple[str, ...] = ()

    def job(self, job: Job) -> Job:
        """The job as its process is given it: of the GPUs that it sees it takes the first, or one for each process."""
        # With `auto` the process decides: torch may be without CUDA where there is a GPU.
        return replace(job, device="cuda") if self.gpus and job.device != "auto" else job

    def environment(self) -> Mapping[str, str]:
        """The environment of its processes."""
        return {**os.environ, VISIBLE: ",".join(self.gpus)} if self.gpus else {**os.environ}


def slots_for(job: Job, per_device: int, wanted: int | None) -> list[Slot]:
    """Where jobs like this one run: `wanted` places on the CPU, on GPUs at most `per_device` on each.

    Without `wanted` it is one place on the CPU, and all there are on GPUs. A GPU has its first cell before another has
    its second. Raises UsageError for a device that is not here, and for fewer GPUs than a job has processes.
    """
    gpus = [] if job.device == "cpu" else gpus_of(job.device, visible_gpus())
    if not gpus:
        return [Slot()] * (wanted or 1)
    if job.processes > len(gpus):
        raise UsageError(
            f"--processes {job.processes}: --device {job.device} has {len(gpus)} GPUs here, and each needs its own"
        )
    ends = range(job.processes, len(gpus) + 1, job.processes)
    slots = [Slot(tuple(gpus[end - job.processes : end])) for end in ends] * per_device
    return slots[:wanted]
