"""The circumstances of a cell: versions, hardware, code."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.records.schema import Git

PACKAGES = ("ferbench", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "pyarrow")


if TYPE_CHECKING:
    import torch  # a process that does not train does not import it


def environment(device: "torch.device | None" = None) -> dict[str, str]:
    """Versions and hardware, without names of machines or people. Includes the device, if this process has one."""
    stamps = {"python": platform.python_version(), "platform": platform.platform(aliased=True, terse=True)}
    for package in PACKAGES:
        try:
            stamps[package] = version(package)
        except PackageNotFoundError:
            stamps[package] = "missing"
    stamps["cpu"] = processor()
    if device is None:
        return stamps
    stamps["device"] = device_name(device)
    if device.type == "cuda":
        import torch

        stamps["cuda"] = str(torch.version.cuda)
        stamps["cudnn"] = str(torch.backends.cudnn.version())
    return stamps


def device_name(device: "torch.device") -> str:
    """`cpu`, or the name of the GPU."""
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)


def processor() -> str:
    """Name of this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state() -> Git | None:
    """The commit of the repository in which the command was started, and whether files differ; None outside of one."""
    try:
        commit = _git("rev-parse", "HEAD")
        return Git(commit=commit, dirty=bool(_git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def peak_memory(device: "torch.device") -> int:
    """Largest memory in use so far, in bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """Processor time of this process."""
    times = os.times()
    return times.user + times.system
