"""Stores the evaluated net of a finished cell beside its record, which holds the SHA-256 of the file."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ferbench.errors import DataError
from ferbench.records.store import is_model
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes, read_tensors, tensor_shapes


def model_bytes(net: nn.Module, class_names: Sequence[str]) -> bytes:
    """The bytes of the file: equal nets give equal bytes."""
    return checkpoint_bytes(Checkpoint(dict(net.state_dict()), {"class_names": list(class_names)}))


def load_tensors(net: nn.Module, path: Path, digest: str) -> None:
    """Load the tensors of a record's model file into a net that is built like the record's own.

    Raises DataError if the file is not the record's, or belongs to another net.
    """
    if not is_model(path, digest):
        raise DataError(f"{path}: not there, or not the model of the record beside it; run its cell again")
    check_fits(net, path, "run its cell again")
    net.load_state_dict(read_tensors(path).tensors)


def check_fits(net: nn.Module, path: Path, remedy: str) -> None:
    """Raise DataError if names or shapes in a file differ from those of a net.

    They are compared before any tensor is read, so that a file cannot ask for more memory than the net needs.
    """
    own = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    shapes = tensor_shapes(path)
    if wrong := sorted(name for name in own.keys() | shapes.keys() if own.get(name) != shapes.get(name)):
        name = wrong[0]
        what = f"'{name}' has the shape {shapes.get(name, 'of nothing')}, the net {own.get(name, 'none of that name')}"
        raise DataError(f"{path}: does not fit the net of its cell ({what}); {remedy}")
