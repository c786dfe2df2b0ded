"""Read untrusted files of weights as state dicts: only tensors are read, and no code in a file is ever executed."""

import json
import pickle
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from ferbench.errors import DataError

State = Mapping[str, Tensor]

PLACES = ("", "model", "model_state_dict", "state_dict", "net", "ema")
"""Keys under which state dicts usually are; if two of them fit a net equally well, the first is used."""
DEEPEST = 3
TORCH_PICKLE = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save before it wrote zip files

# These commands run code of the file, so ferbench only prints them; a user who trusts the file may run them.
_TO_TENSORS = (
    'import torch; t = torch.is_tensor; f = lambda v: f(v.state_dict()) if hasattr(v, "state_dict") else '
    '{{k: x if t(x) else f(x) for k, x in v.items() if t(x) or hasattr(x, "items") or hasattr(x, "state_dict")}}; '
    "torch.save(f(torch.{load}), {made})"
)
_FROM_ARRAYS = (
    "import pickle, torch; torch.save({{k: torch.as_tensor(x) for k, x in "
    'pickle.load(open({path}, "rb"), encoding="latin1").items()}}, {made})'
)


def read_states(path: Path) -> dict[str, State]:
    """Return every state dict of a file by its place (`state_dict`, `model.ema`; empty for the top), usual ones first.

    It reads safetensors and files of any version of torch.save, recognised by content, not by suffix. The tensors are
    on the CPU, mapped into memory if the format allows. Raises DataError, with a remedy, for any other file, for one
    that only unpickling could read, and for one without tensors.
    """
    states = dict(_states(_read(path), ""))
    if not states:
        raise DataError(
            f"{path}: contains no named tensors; save a state dict with torch.save(model.state_dict(), FILE)"
        )
    if any(not key.isprintable() for place, state in states.items() for key in (place, *state)):
        raise DataError(f"{path}: names of its tensors have unprintable characters; save it with other names")
    return {place: states[place] for place in sorted(states, key=_rank)}


def _rank(place: str) -> int:
    last = place.rpartition(".")[2]
    return PLACES.index(last) if last in PLACES else len(PLACES)


def _states(value: object, place: str, depth: int = 0) -> Iterator[tuple[str, State]]:
    if not isinstance(value, Mapping):
        return
    named = {
        key: item for key, item in value.items() if isinstance(key, str)
    }  # keys of an optimizer's state are numbers
    tensors = {key: item for key, item in named.items() if isinstance(item, Tensor) and item.layout == torch.strided}
    if tensors:
        yield place, tensors
    if depth < DEEPEST:
        for key, item in named.items():
            yield from _states(item, f"{place}.{key}" if place else key, depth + 1)


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a file of weights") from None
    # A caller may build its net on meta tensors, but those of the file must be real.
    with torch.device("cpu"):
        if head[8:9] == b"{":
            return _read_safetensors(path)
        if head.startswith(b"PK\x03\x04") or (head.startswith(b"\x80") and TORCH_PICKLE in head[:32]):
            return _read_torch(path, zipped=head.startswith(b"PK"))
    raise DataError(f"{path}: {_what_else(path, head)}")


def _read_safetensors(path: Path) -> object:
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path}: the safetensors file is damaged ({_line(error)}); download or copy it again"
        ) from None


def _read_torch(path: Path, *, zipped: bool) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # warnings about unusual pickle protocols
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch raises its own and pickle's errors for a damaged or foreign file
        raise DataError(f"{path}: {_why_not(path, error)}") from None
    return loaded


def _why_not(path: Path, error: Exception) -> str:
    """Return why torch cannot read a file, with a remedy."""
    text, quoted = str(error), json.dumps(str(path))
    if "TorchScript" in text:
        load = f'jit.load({quoted}, "cpu")'
        return f"it is a TorchScript archive, which contains code; {_convert(_TO_TENSORS, path, load=load)}"
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", text)
        more = f" ({found[1]})" if found else ""
        load = f'load({quoted}, "cpu", weights_only=False)'
        return (
            f"contains objects other than tensors{more}, which ferbench does not unpickle; "
            f"{_convert(_TO_TENSORS, path, load=load)}"
        )
    return (
        f"damaged, or not written by torch.save ({_line(error)}); download or copy it again, or save a state dict with "
        "torch.save(model.state_dict(), FILE)"
    )


def _what_else(path: Path, head: bytes) -> str:
    """Return what a file is that is neither safetensors nor PyTorch's, with a remedy."""
    if not head:
        return "the file is empty; download or copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer instead of the weights; run git lfs pull in its repository"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page instead of the weights; download the file itself, for example in a browser"
    if head.startswith(b"\x80"):
        code = _convert(_FROM_ARRAYS, path, path=json.dumps(str(path)))
        return f"it is a pickle that torch.save did not write, and ferbench does not unpickle it; {code}"
    return (
        "it is neither a safetensors file nor a PyTorch file; save a state dict with "
        "torch.save(model.state_dict(), FILE)"
    )


def _convert(code: str, file: Path, **parts: str) -> str:
    made = f"{file}.tensors.pth"
    command = shlex.quote(code.format(made=json.dumps(made), **parts))
    return (
        f"if you trust its author (this runs code of the file), convert it once, then name {made}: python -c {command}"
    )


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
