"""What a cell ran on and with: versions, hardware, code."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ferbench.plugins import registry, source_hash
from ferbench.records.cell import Cell
from ferbench.records.schema import Git, PluginStamp

PACKAGES = ("ferbench", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "pyarrow")


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware, without names of machines or people."""
    stamps = {"python": platform.python_version(), "platform": platform.platform(aliased=True, terse=True)}
    for package in PACKAGES:
        try:
            stamps[package] = version(package)
        except PackageNotFoundError:
            stamps[package] = "missing"
    stamps["cpu"] = _processor()
    stamps["device"] = device_name(device)
    if device.type == "cuda":
        stamps["cuda"] = str(torch.version.cuda)
        stamps["cudnn"] = str(torch.backends.cudnn.version())
    return stamps


def code() -> dict[str, str]:
    """What decides the numbers of a run beside plugins: ferbench's own code, torch and timm."""
    own = stamp("methods", "supervised").source_hash
    return {"ferbench": own, "torch": version("torch"), "timm": version("timm")}


def device_name(device: torch.device) -> str:
    """`cpu`, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def stamp(kind: str, name: str) -> PluginStamp:
    """Which code a registered name stands for."""
    entry = registry().get(kind, name)
    return PluginStamp(
        distribution=entry.distribution, version=entry.version, source_hash=source_hash(entry), title=entry.title
    )


def named_parts(cell: Cell) -> dict[str, tuple[str, str]]:
    """Kind and name of every registered part of a cell, by its role."""
    return {
        "method": ("methods", cell.method),
        "protocol": ("protocols", cell.protocol),
        "head": ("heads", cell.head or ""),
        "backbone": ("backbones", cell.backbone.partition("/")[0]),
        "dataset": ("datasets", cell.dataset),
        "pool": ("datasets", cell.pool_name or ""),
        "test_set": ("datasets", cell.test_on or ""),
    }


def git_state() -> Git | None:
    """Commit and dirtiness of the repository that the command was started in, if it is one."""
    try:
        commit = _git("rev-parse", "HEAD")
        return Git(commit=commit, dirty=bool(_git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def peak_memory(device: torch.device) -> int:
    """Largest memory in use so far, in bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """Processor time of this process."""
    times = os.times()
    return times.user + times.system
