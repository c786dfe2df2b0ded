"""Which device a person means: its name is checked where cells are planned, the device itself where they run."""

import os

import torch

from ferbench.errors import UsageError


def check_device(name: str) -> None:
    """Raises UsageError for what is no device on any machine; a login node without a GPU can plan for one."""
    if name == "auto":
        return
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:0") from None
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")


def choose_device(name: str, processes: int = 1) -> str:
    """The device of this machine that a checked name means; `auto` is the GPU if there is one.

    Raises UsageError for one that is not here, and for fewer GPUs than there are processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cpu":
        return name
    if not torch.cuda.is_available():
        raise UsageError(f"--device {name}: this machine has no CUDA device; use --device cpu")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise UsageError(f"--device {name}: this machine has cuda:0 to cuda:{count - 1}")
    if processes > count:
        raise UsageError(f"--processes {processes}: this machine has {count} CUDA devices, and each needs its own")
    return name


def make_deterministic(device: torch.device) -> None:
    """Runs of one seed end in one result; on a GPU that takes cuDNN's and cuBLAS's deterministic kernels, no TF32."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Else every new tensor is filled before it is written: hundreds of launches a step, for values nobody reads.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
