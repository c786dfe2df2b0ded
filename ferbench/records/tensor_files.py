"""The metadata in safetensors files of ferbench: a state, and a digest of the whole content."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ferbench.errors import DataError
from ferbench.records.cell import canonical_json

# Several metadata keys would be serialised in random order; one key with canonical JSON keeps the bytes equal.
METADATA_KEY = "ferbench"
DIGEST = "digest"
Described = tuple[str, str, Sequence[int], memoryview]
"""Name, type (such as `float32`), shape and bytes of a tensor."""


class DamagedTensorsError(DataError):
    """A tensor file is damaged, or was not written by ferbench."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}, so it is not loaded; remove it and run the same command again")
        self.path, self.problem = path, problem


def parse_state(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the state in a file's metadata; raises KeyError or ValueError if there is none."""
    state = json.loads((metadata or {})[METADATA_KEY])
    if not isinstance(state, dict):
        raise ValueError("its state is not a JSON object")
    return state


def content_digest(state: Mapping[str, Any], tensors: Iterable[Described]) -> str:
    """Return the SHA-256 over the state and all tensors, in the order of their names."""
    content = hashlib.sha256(canonical_json(state))
    for name, kind, shape, values in sorted(tensors, key=lambda tensor: tensor[0]):
        content.update(json.dumps([name, kind, list(shape)]).encode())
        content.update(values)
    return content.hexdigest()


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file as arrays; raises DamagedTensorsError if they do not match the file's digest."""
    try:
        with safe_open(path, framework="np") as file:
            state = parse_state(file.metadata())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedTensorsError(path, f"not a file written by ferbench ({error})") from None
    expected = state.pop(DIGEST, None)
    described = ((name, str(a.dtype), a.shape, a.reshape(-1).view(np.uint8).data) for name, a in arrays.items())
    if expected != content_digest(state, described):
        raise DamagedTensorsError(path, "changed since it was written")
    return arrays
