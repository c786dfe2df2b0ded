"""One safetensors file with everything that a resumed run needs; nothing in it is ever unpickled."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from ferbench.errors import DataError
from ferbench.records.cell import canonical_json
from ferbench.records.files import write_atomic
from ferbench.records.formats import CHECKPOINT_FORMAT, FORMAT, check_format
from ferbench.training.epoch_stats import EpochStats, Said
from ferbench.training.run import Run, RunProgress

# Several metadata keys would be serialised in random order; one key with canonical JSON keeps the bytes equal.
METADATA_KEY = "ferbench"


@dataclass
class Checkpoint:
    """Tensors by name and a JSON state."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def put(self, prefix: str, tensors: dict[str, Tensor]) -> None:
        """Add tensors under a prefix."""
        self.tensors.update({f"{prefix}/{name}": value for name, value in tensors.items()})

    def get(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix."""
        start = f"{prefix}/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The bytes of the file: equal tensors and state give equal bytes."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    return save(tensors, {METADATA_KEY: canonical_json(checkpoint.state).decode()})


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically, with the number of the format; the old file stays until the new one is whole."""
    state = {FORMAT: CHECKPOINT_FORMAT, **checkpoint.state}
    write_atomic(path, checkpoint_bytes(Checkpoint(checkpoint.tensors, state)))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what `write_checkpoint` has written; raises DataError for any other file, and for another format."""
    checkpoint = read_tensors(path)
    remedy = f"remove it (rm {path}) and give the same command again, which begins anew"
    check_format(path, checkpoint.state, CHECKPOINT_FORMAT, remedy)
    return checkpoint


def read_tensors(path: Path) -> Checkpoint:
    """Read a file of tensors that nobody vouches for; raises DataError if ferbench did not write it."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})[METADATA_KEY])
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, state)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: not a ferbench checkpoint ({error}); it is not loaded. Remove it to start the cell again"
        ) from None


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as tensors named `<parameter>.<key>`; its settings are the recipe's."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items() if value is not None
    }


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put tensors of `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # A file holds values in logical order. Fused kernels walk the memory of parameter and moment together, so moments
    # of channels_last parameters must be channels_last again.
    for parameter, entry in optimizer.state.items():
        for key, value in entry.items():
            if value.shape == parameter.shape:
                entry[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def rng_tensors(device: torch.device, method: torch.Generator) -> dict[str, Tensor]:
    """States of torch's default generators and of the method's own."""
    states = {"cpu": torch.get_rng_state(), "method": method.get_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def load_rng(tensors: dict[str, Tensor], device: torch.device, method: torch.Generator) -> None:
    """Put states of `rng_tensors` back."""
    torch.set_rng_state(tensors["cpu"])
    method.set_state(tensors["method"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)


def save_run(
    path: Path, identity: str, run: Run, progress: RunProgress, stats: EpochStats, optimizer: Optimizer
) -> None:
    """Write all that the rest of a run depends on; what comes after it is lost when the process is killed."""
    checkpoint = Checkpoint(state={"identity": identity, "progress": progress.to_json()})
    for prefix, module in run.modules.items():
        checkpoint.put(prefix, module.state_dict())
    checkpoint.put("optimizer", optimizer_tensors(optimizer))
    checkpoint.put("meter", stats.state)
    checkpoint.put("said", stats.said._asdict() if stats.said else {})
    checkpoint.put("rng", rng_tensors(run.task.device, run.method.random))
    write_checkpoint(path, checkpoint)


def restore_run(path: Path, identity: str, run: Run, progress: RunProgress, stats: EpochStats) -> Checkpoint | None:
    """Put everything back but the optimizer, which the stage makes; None for a checkpoint of another identity."""
    checkpoint = read_checkpoint(path)
    if checkpoint.state.get("identity") != identity:
        return None
    for prefix, module in run.modules.items():
        module.load_state_dict(checkpoint.get(prefix))
    device = run.task.device
    stats.state = {name: value.to(device) for name, value in checkpoint.get("meter").items()}
    stats.said = Said(**{k: v.to(device) for k, v in said.items()}) if (said := checkpoint.get("said")) else None
    load_rng(checkpoint.get("rng"), run.task.device, run.method.random)
    progress.take_up(checkpoint.state["progress"])
    progress.resumed += 1
    return checkpoint
