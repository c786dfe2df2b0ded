"""One safetensors file with everything that a resumed run needs; nothing in it is ever unpickled."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from ferbench.errors import DataError, PluginError
from ferbench.records.cell import canonical_json
from ferbench.records.files import write_atomic
from ferbench.records.formats import CHECKPOINT_FORMAT, FORMAT, check_format
from ferbench.records.in_progress import said_file, snapshot_file
from ferbench.records.store import CHECKPOINT_BEFORE
from ferbench.records.tensor_files import DIGEST, METADATA_KEY, DamagedTensorsError, content_digest, parse_state
from ferbench.training.epoch_stats import EpochStats, Said
from ferbench.training.optimization import Optimizers
from ferbench.training.run import Run, RunProgress


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

    def kept(self) -> "Checkpoint":
        """The same on the host. Later changes to the tensors and the state do not affect it."""
        moved = on_host(self.tensors)
        own = {name: moved[name].clone() for name, value in self.tensors.items() if _is_here(value)}
        return Checkpoint(moved | own, copy.deepcopy(self.state))


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the host. Those on a device are copied in one transfer."""
    away = {name: value for name, value in tensors.items() if not _is_here(value)}
    moved = unpacked(packed(away).cpu(), away) if away else {}
    return {name: moved[name] if name in moved else value.detach() for name, value in tensors.items()}


def _is_here(value: Tensor) -> bool:
    return value.device.type == "cpu"


def packed(tensors: Mapping[str, Tensor]) -> Tensor:
    """The bytes of tensors that lie on one device, (n,) uint8."""
    values = (tensors[name].detach() for name in _largest_elements_first(tensors))
    return torch.cat([value.contiguous().reshape(-1).view(torch.uint8) for value in values])


def unpacked(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`: contiguous tensors with the names, types and shapes of `like`."""
    names = _largest_elements_first(like)
    parts = flat.split([like[name].numel() * like[name].element_size() for name in names])
    return {name: part.view(like[name].dtype).view(like[name].shape) for name, part in zip(names, parts, strict=True)}


def _largest_elements_first(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names in an order in which every tensor begins at a multiple of its element's size."""
    return sorted(tensors, key=lambda name: -tensors[name].element_size())


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The bytes of the file: equal tensors and state give equal bytes."""
    tensors = {name: value.contiguous().clone() for name, value in on_host(checkpoint.tensors).items()}
    return save(tensors, {METADATA_KEY: canonical_json(checkpoint.state).decode()})


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically, with the number of the format and a digest; the old file stays until the new one is whole."""
    state = {FORMAT: CHECKPOINT_FORMAT, **checkpoint.state}
    write_atomic(path, checkpoint_bytes(sealed(Checkpoint(on_host(checkpoint.tensors), state))))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file that `write_checkpoint` wrote.

    Raises DamagedTensorsError for any other content, and DataError for a format of another version of ferbench.
    """
    checkpoint = read_tensors(path)
    remedy = f"remove it (rm {path}) and give the same command again; the cell then starts again"
    check_format(path, checkpoint.state, CHECKPOINT_FORMAT, remedy)
    if not unsealed(checkpoint):
        raise DamagedTensorsError(path, "changed since it was written")
    return checkpoint


def sealed(checkpoint: Checkpoint) -> Checkpoint:
    """The same, with a digest of tensors and state added to the state."""
    return Checkpoint(checkpoint.tensors, {**checkpoint.state, DIGEST: _digest(checkpoint)})


def unsealed(checkpoint: Checkpoint) -> bool:
    """Take the digest out of the state, and return whether it matches the content."""
    found: object = checkpoint.state.pop(DIGEST, None)
    return found == _digest(checkpoint)


def read_tensors(path: Path) -> Checkpoint:
    """Read a file of tensors from an unknown source; raises DamagedTensorsError if ferbench did not write it."""
    try:
        with safe_open(path, framework="pt") as file:
            state = parse_state(file.metadata())
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, state)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedTensorsError(path, f"not a ferbench checkpoint ({error})") from None


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Names and shapes of the tensors in a file from an unknown source. No tensor is read.

    Raises DamagedTensorsError if it is not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedTensorsError(path, f"not a ferbench checkpoint ({error})") from None


def _digest(checkpoint: Checkpoint) -> str:
    tensors = {name: value.contiguous() for name, value in on_host(checkpoint.tensors).items()}
    described = (
        (name, str(value.dtype).removeprefix("torch."), value.shape, value.flatten().view(torch.uint8).numpy().data)
        for name, value in tensors.items()
    )
    return content_digest(checkpoint.state, described)


def put_optimizer(checkpoint: Checkpoint, name: str, optimizer: Optimizer) -> None:
    """Add an optimizer's state: its tensors as `<parameter>.<key>`, its numbers and those of its groups as JSON.

    Raises PluginError if the state holds anything else.
    """
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    places = {str(index): entry for index, entry in whole["state"].items()}
    places |= {f"group{number}": group for number, group in enumerate(whole["param_groups"])}
    for place, entry in places.items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{place}.{key}"] = value
            elif is_json(value):
                values[f"{place}.{key}"] = value
            else:
                raise PluginError(
                    f"{type(optimizer).__name__}: '{key}' of its state is a {type(value).__name__}, which no "
                    "checkpoint can hold; keep tensors, numbers and texts, or lists of them"
                )
    checkpoint.put(f"optimizer-{name}", tensors)
    checkpoint.state.setdefault("optimizers", {})[name] = values


def is_json(value: object) -> bool:
    """Whether JSON gives the value back unchanged. A tuple counts as a list."""
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))


def load_optimizer(optimizer: Optimizer, checkpoint: Checkpoint, name: str) -> None:
    """Put back what `put_optimizer` saved."""
    saved: dict[str, dict[str, Any]] = {}
    entries = {**checkpoint.state["optimizers"][name], **checkpoint.get(f"optimizer-{name}")}
    for path, value in entries.items():
        place, _, key = path.partition(".")
        saved.setdefault(place, {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    for number, group in enumerate(groups):
        # JSON turns a tuple, such as Adam's betas, into a list: make it a tuple again.
        group |= {k: type(group.get(k, v))(v) if isinstance(v, list) else v for k, v in saved[f"group{number}"].items()}
    state = {int(place): entry for place, entry in saved.items() if not place.startswith("group")}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # A file holds values in logical order. Fused kernels walk the memory of a parameter and its moments together, so
    # moments of channels_last parameters must be channels_last again. Torch gives all state the type of its parameter.
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, entry in state.items():
        kept = optimizer.state[trained[index]]
        for key, value in entry.items():
            if isinstance(value, Tensor) and value.shape == trained[index].shape:
                kept[key] = torch.empty_like(trained[index], dtype=value.dtype).copy_(value)
            elif isinstance(value, Tensor) and kept[key].dtype != value.dtype:
                kept[key] = value.to(kept[key].device)


def rng_tensors(device: torch.device, method: torch.Generator) -> dict[str, Tensor]:
    """The states of torch's default generators and of the method's own generator."""
    states = {"cpu": torch.get_rng_state(), "method": method.get_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def load_rng(tensors: dict[str, Tensor], device: torch.device, method: torch.Generator) -> None:
    """Put the states from `rng_tensors` back."""
    torch.set_rng_state(tensors["cpu"])
    method.set_state(tensors["method"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)


def before(path: Path) -> Path:
    """The file of the second newest checkpoint."""
    return path.with_name(CHECKPOINT_BEFORE)


def state_of(identity: str, run: Run, progress: RunProgress, stats: EpochStats, optimizers: Optimizers) -> Checkpoint:
    """All that the rest of a run depends on, as it is now. Later steps do not change it."""
    checkpoint = Checkpoint(state={"identity": identity, "progress": progress.to_json()})
    for prefix, module in run.modules.items():
        checkpoint.put(prefix, module.state_dict())
    for name, optimizer in optimizers.items():
        put_optimizer(checkpoint, name, optimizer)
    checkpoint.put("meter", stats.state)
    checkpoint.put("said", stats.said._asdict() if stats.said else {})
    checkpoint.put("rng", rng_tensors(run.task.device, run.method.random))
    return checkpoint.kept()


def restore_run(
    path: Path, folder: Path, identity: str, run: Run, progress: RunProgress, stats: EpochStats
) -> Checkpoint | None:
    """Restore everything but the optimizers, which the stage makes. None if the checkpoint has another identity.

    Raises DamagedTensorsError, before anything is changed, if the file or a file kept in the folder was altered.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.state.get("identity") != identity:
        return None
    with fitting(path):
        saved = RunProgress.from_json(checkpoint.state["progress"])
        _check_kept(folder, saved)
        for prefix, module in run.modules.items():
            module.load_state_dict(checkpoint.get(prefix))
        device = run.task.device
        stats.state = checkpoint.get("meter")
        said = checkpoint.get("said")
        stats.said = Said(**{name: value.to(device) for name, value in said.items()}) if said else None
        load_rng(checkpoint.get("rng"), run.task.device, run.method.random)
        vars(progress).update(vars(saved), resumed=saved.resumed + 1)
        return checkpoint


def _check_kept(folder: Path, progress: RunProgress) -> None:
    """Read the files that are joined with labels after training. A run that has lost one starts again."""
    for row in progress.history:
        if row.mask_rate is not None:
            read_checkpoint(said_file(folder, row.epoch))
    for epoch in progress.evaluated:
        path = snapshot_file(folder, epoch)
        if path.is_file() or epoch != progress.evaluated[-1]:  # the trained net has no snapshot
            read_checkpoint(path)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Within this block an undamaged checkpoint is restored. Raises DataError if it does not fit its cell."""
    try:
        yield
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path}: does not fit its cell ({type(error).__name__}: {reason}); remove it and give the same command "
            "again; the cell then starts again"
        ) from None
