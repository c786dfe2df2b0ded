"""The places of this machine where cells run at the same time. Each has its own GPUs, or its part of the processor."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ferbench.contract.executor import Job
from ferbench.errors import UsageError
from ferbench.execution.devices import VISIBLE, gpus_of, visible_gpus


@dataclass(frozen=True)
class Slot:
    """A place for one cell at a time. `gpus` are its GPUs, as CUDA_VISIBLE_DEVICES names them; empty on the CPU."""

    gpus: tuple[str, ...] = ()

    def job(self, job: Job) -> Job:
        """The job in the form that its process gets. It uses the first visible GPU, or one GPU for each process."""
        # With `auto` the process decides: torch may lack CUDA although the machine has a GPU.
        return replace(job, device="cuda") if self.gpus and job.device != "auto" else job

    def environment(self) -> Mapping[str, str]:
        """The environment of its processes."""
        return {**os.environ, VISIBLE: ",".join(self.gpus)} if self.gpus else {**os.environ}


def slots_for(job: Job, per_device: int, wanted: int | None) -> list[Slot]:
    """The places where jobs like this one run: `wanted` places on the CPU, or at most `per_device` on each GPU.

    Without `wanted` there is one place on the CPU, or all places on GPUs. Every GPU gets its first cell before any gets
    a second. Raises UsageError if this machine does not have the device, or has fewer GPUs than a job has processes.
    """
    gpus = [] if job.device == "cpu" else gpus_of(job.device, visible_gpus())
    if not gpus:
        if per_device > 1 and wanted is None:
            raise UsageError(
                f"--per-device {per_device}: it counts cells on a GPU, and none is used here; write --jobs {per_device}"
            )
        return [Slot()] * (wanted or 1)
    if job.processes > len(gpus):
        raise UsageError(
            f"--processes {job.processes}: --device {job.device} has {len(gpus)} GPUs here, and each needs its own"
        )
    ends = range(job.processes, len(gpus) + 1, job.processes)
    slots = [Slot(tuple(gpus[end - job.processes : end])) for end in ends] * per_device
    return slots[:wanted]
