"""The checks behind `ferbench doctor`: each one looks at one thing and names a remedy."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from ferbench.cli.output import slow_remedy, slowness
from ferbench.discovery.foreign_code import describe
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registration import SLOW_SECONDS
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError, PluginError

SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.sshfs", "fuse.glusterfs")
"""File systems that several machines may share."""
LOOK = """
import sys
from pathlib import Path
from ferbench.records.lease import is_held
sys.exit(not is_held(Path(sys.argv[1])))
"""
LOW_DISK = 2 * 2**30
LOW_MEMORY = 2 * 2**30


@dataclass(frozen=True)
class InstallationCheck:
    """The result of a check. `exit_code` is 0 if all is well; a warning has a remedy and exit code 0."""

    name: str
    detail: str
    remedy: str = ""
    exit_code: int = 0

    @property
    def result(self) -> str:
        """`ok`, `warning` or `FAILED`."""
        return "FAILED" if self.exit_code else "warning" if self.remedy else "ok"


def diagnose(runs: Path) -> Iterator[InstallationCheck]:
    """Run all checks, one after another. A check that breaks counts as failed and does not stop the others."""
    from ferbench.data.cache import cache_root

    # Strict mode would hide every later check behind the first problem.
    registry = load_registry({**os.environ, "FERBENCH_STRICT_PLUGINS": ""})
    python = f"{platform.python_version()} at {sys.executable} on {platform.platform()}"
    checks: dict[str, Callable[[], Iterator[InstallationCheck]]] = {
        "python": lambda: iter([InstallationCheck("python", python)]),
        "packages": _packages,
        "torch": _torch,
        "processor": _processor,
        "memory": _memory,
        "runs folder": lambda: check_folder("runs folder", runs, "--runs or FERBENCH_RUNS"),
        "data cache": lambda: check_folder("data cache", cache_root(), "FERBENCH_CACHE"),
        "plugins": lambda: _plugins(registry),
        "datasets": lambda: check_datasets(registry),
    }
    for name, check in checks.items():
        try:
            yield from check()
        except FerbenchError as error:
            yield InstallationCheck(name, str(error), "see the message", error.exit_code)
        except Exception as error:
            yield InstallationCheck(name, describe(error), "install ferbench again, in an environment of its own", 1)


def _packages() -> Iterator[InstallationCheck]:
    """The versions of the packages that ferbench itself needs."""
    found, missing = [], []
    for requirement in importlib.metadata.requires("ferbench") or ():
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement)
    yield InstallationCheck("packages", ", ".join(found))
    if missing:
        remedy = "pip install " + " ".join(map(repr, missing))
        yield InstallationCheck("packages", f"missing: {', '.join(missing)}", remedy, 1)


def _torch() -> Iterator[InstallationCheck]:
    for name in ("torch", "torchvision", "timm"):
        try:
            import_module(name)
        except Exception as error:
            remedy = "install torch, torchvision and timm again in one pip command, so that their versions match"
            yield InstallationCheck(name, f"cannot be imported ({describe(error)})", remedy, 1)
            return
    torch: Any = import_module("torch")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        detail = f"cuda:{index} {device.name}, {_size(device.total_memory)}, CUDA {torch.version.cuda}"
        yield InstallationCheck("device", detail)
    if torch.cuda.is_available():
        return
    if torch.version.cuda and shutil.which("nvidia-smi"):
        remedy = "run nvidia-smi: a driver older than torch's CUDA, or a CUDA_VISIBLE_DEVICES that hides the device"
        yield InstallationCheck("device", "cpu, though an NVIDIA driver is installed", remedy)
    else:
        yield InstallationCheck("device", "cpu")


def _processor() -> Iterator[InstallationCheck]:
    torch: Any = import_module("torch")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{usable} of {os.cpu_count()} cores usable, torch uses {torch.get_num_threads()} threads"
    yield InstallationCheck("processor", detail)


def _memory() -> Iterator[InstallationCheck]:
    """Total and available memory; a container's limit counts if it is smaller."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file() and (available := re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())):
        free = int(available[1]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (value := limit.read_text().strip()).isdigit():
        total = min(total, int(value))
        free = max(min(free, total - int(used.read_text())), 0)
    remedy = "close other programs, or use --jobs 1" if free < LOW_MEMORY else ""
    yield InstallationCheck("memory", f"{_size(free)} of {_size(total)} free", remedy)


def check_folder(name: str, folder: Path, chosen_by: str) -> Iterator[InstallationCheck]:
    """Check space, write access and leases between two processes, in the nearest existing folder. Leaves no trace."""
    from ferbench.records.lease import Lease, seconds

    place = folder.absolute()
    try:
        while not os.path.lexists(place):
            place = place.parent
        place.stat()  # fails for a link whose target is not mounted
        with Lease(place / f".ferbench-doctor-{os.getpid()}") as lease:
            guarded = _is_seen_held(lease.path)
    except OSError as error:
        remedy = f"make it writable, or choose another with {chosen_by}"
        yield InstallationCheck(name, f"{folder}: {describe(error)}", remedy, 1)
        return
    kind = _file_system(place)
    shared = f"; on {kind}: the cell of a machine that is gone is free after {seconds():g} s" if kind in SHARED else ""
    if not guarded:
        remedy = f"two processes could write one cell there; choose another with {chosen_by}"
        yield InstallationCheck(name, f"{folder}: a second process was not kept out", remedy, 1)
        return
    free = shutil.disk_usage(place).free
    remedy = f"free some space, or choose another with {chosen_by}" if free < LOW_DISK else ""
    yield InstallationCheck(
        name, f"{folder}: writable, a second process is kept out, {_size(free)} free{shared}", remedy
    )


def _is_seen_held(path: Path) -> bool:
    """Whether another process sees that a lease is held."""
    return subprocess.run([sys.executable, "-P", "-c", LOOK, str(path)], check=False).returncode == 0


def _file_system(place: Path) -> str:
    """The kind of file system of a folder, such as `ext4` or `nfs4`."""
    mounts = [part for part in psutil.disk_partitions(all=True) if place.resolve().is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""


def _plugins(registry: Registry) -> Iterator[InstallationCheck]:
    third_party = [f"{p.distribution} {p.version}" for p in registry.plugins if p.distribution != "ferbench"]
    yield InstallationCheck("plugins", ", ".join(dict.fromkeys(third_party)) or "only the built-ins")
    for plugin in registry.plugins:
        if plugin.seconds >= SLOW_SECONDS:
            yield InstallationCheck("plugins", slowness(plugin), slow_remedy(plugin))
    for problem in registry.problems:
        detail = f"'{problem.plugin}' of {problem.distribution} {problem.version}: {problem.message}"
        yield InstallationCheck("plugins", detail, problem.remedy, PluginError.exit_code)


def check_datasets(registry: Registry) -> Iterator[InstallationCheck]:
    """Readers and prepared datasets. If the default dataset is missing, the remedy says how to install it."""
    from ferbench.data.prepare.registered_copies import prepared_names
    from ferbench.data.sources import DEFAULT_DATASET, DEFAULT_HINT

    names, prepared = registry.names("datasets"), prepared_names()
    yield InstallationCheck("datasets", f"readers: {', '.join(names)}; prepared: {', '.join(prepared) or 'none'}")
    if DEFAULT_DATASET not in names:
        others = "" if prepared else ", and none of yours is prepared"
        detail = f"the default, {DEFAULT_DATASET}, is not installed{others}"
        yield InstallationCheck("datasets", detail, DEFAULT_HINT, 0 if prepared else DataError.exit_code)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
