"""Device names. A name is checked when cells are planned, the device itself on the machine that runs them."""

import ctypes
import os
import re
from typing import TYPE_CHECKING

from ferbench.errors import UsageError

if TYPE_CHECKING:
    import torch  # a process that only plans or starts cells does not import it

GPUS = re.compile(r"cuda(?::(?P<first>\d+)(?:-(?P<last>\d+))?)?")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def check_device(name: str) -> None:
    """Raise UsageError for a name that is not a device on any machine. A login node without a GPU can plan for one."""
    if name in ("auto", "cpu"):
        return
    if not (found := GPUS.fullmatch(name)):
        several = f"; for a list of GPUs, set {VISIBLE}=0,2 and give cuda" if "," in name else ""
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda, cuda:0 or cuda:0-3{several}")
    if found["last"] and int(found["last"]) < int(found["first"]):
        raise UsageError(f"--device {name}: write the smaller number first, cuda:{found['last']}-{found['first']}")


def visible_gpus() -> list[str]:
    """The GPUs that a process started from here would see, as CUDA_VISIBLE_DEVICES names them.

    This asks the driver, without torch. Without a driver the list is empty.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    named = [each.strip() for each in os.environ.get(VISIBLE, "").split(",") if each.strip()]
    return (named or [str(number) for number in range(count.value)])[: count.value]


def gpus_of(name: str, gpus: list[str]) -> list[str]:
    """Return the GPUs of this machine that a checked name means: `auto` and `cuda` mean all of them, `cpu` none.

    Raises UsageError if this machine does not have the device.
    """
    if name in ("auto", "cpu"):
        return gpus if name == "auto" else []
    if not gpus:
        raise UsageError(f"--device {name}: this machine has no CUDA device; use --device cpu")
    found = GPUS.fullmatch(name)
    assert found
    if found["first"] is None:
        return gpus
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if last >= len(gpus):
        here = "cuda:0 alone" if len(gpus) == 1 else f"cuda:0 to cuda:{len(gpus) - 1}"
        raise UsageError(f"--device {name}: this machine has {here}")
    return gpus[first : last + 1]


def choose_device(name: str, processes: int = 1) -> str:
    """The device that a checked name means on this machine; `auto` is the GPU if there is one.

    Raises UsageError if this machine does not have the device, or has fewer GPUs than processes.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    chosen = gpus_of(name, [str(number) for number in range(count)])
    if "-" in name:
        raise UsageError(f"--device {name}: a cell runs on one device here; name one, or choose --executor local")
    if name != "cpu" and processes > len(chosen):
        raise UsageError(f"--processes {processes}: this machine has {count} CUDA devices, and each needs its own")
    return name


def make_deterministic(device: "torch.device") -> None:
    """Make all runs of one seed give one result. On a GPU this needs deterministic cuDNN and cuBLAS, without TF32."""
    import torch

    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Otherwise every new tensor is filled before it is written: hundreds of launches a step, for values nobody
        # reads.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
