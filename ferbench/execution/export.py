"""Exports a model as a file for other programs, and checks that its logits are the same there."""

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError, UsageError
from ferbench.execution.trained_model import TrainedModel, load_model
from ferbench.records.tensor_files import METADATA_KEY
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes, sealed
from ferbench.training.memory_format import plain_convolutions

TOLERANCE = 1e-4
"""Tolerance for a logit in ONNX, absolute and relative: other programs add numbers in another order."""
CHECKED = 8
"""Number of images in the check of a file."""
Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


def described(model: TrainedModel) -> dict[str, Any]:
    """The facts that a program needs to use a model, as JSON; `docs/models.md` explains them."""
    transform = model.transform
    return {
        "class_names": list(model.class_names),
        "image_size": transform.recipe.image_size,
        "stored_size": transform.recipe.packed_size,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "cell_id": model.record.cell_id,
    }


def safetensors_bytes(model: TrainedModel, registry: Registry) -> tuple[bytes, float]:
    """A safetensors file that `load_model` reads anywhere, and the largest difference of its logits from the model's.

    Besides the tensors it holds `described` and the record, as JSON under the key `ferbench`.
    """
    state = {**described(model), "record": model.record.model_dump(mode="json")}
    content = checkpoint_bytes(sealed(Checkpoint(dict(model.net.state_dict()), state)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        read = load_model(path, registry=registry)
    return content, _difference(model, read.logits_of, 0.0)


def onnx_bytes(model: TrainedModel) -> tuple[bytes, float]:
    """An ONNX file, and the largest difference of onnxruntime's logits from the model's.

    Its input `images` are pixels (N, S, S, 3) uint8 in RGB, where S is the image size; the normalisation is part of the
    file. Its outputs are `logits` and `probabilities`, (N, C) float32. Its metadata hold `described` under the key
    `ferbench`. Raises UsageError if the extra `export` is missing, and for a net that cannot be written as ONNX.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise UsageError("ONNX export needs onnx, onnxscript and onnxruntime: pip install 'ferbench[export]'") from None
    try:
        content = _onnx(model)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return content, _difference(model, lambda pixels: session.run(["logits"], {"images": pixels})[0])
    except FerbenchError:
        raise
    except Exception as error:  # a plugin's net can make torch's exporter or onnxruntime raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"this net cannot be written as ONNX ({reason}); export it with --to safetensors") from error


def _onnx(model: TrainedModel) -> bytes:
    size = model.transform.recipe.image_size
    program = torch.onnx.export(
        _Deployed(model).eval(),
        (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
        input_names=["images"],
        output_names=["logits", "probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None, "the exporter gives a program where it writes no file"
    program.model.metadata_props[METADATA_KEY] = json.dumps(described(model))
    content: bytes = program.model_proto.SerializeToString()
    return content


class _Deployed(nn.Module):
    """Map pixels to logits and probabilities, with standard convolutions."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.net = plain_convolutions(copy.deepcopy(model.net).cpu())
        self.transform = model.transform

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.net(self.transform.normalised(images)).logits
        return logits, logits.softmax(-1)


def _difference(model: TrainedModel, logits_of: Callable[[Pixels], Logits], tolerance: float = TOLERANCE) -> float:
    """The largest difference of logits, for a single image and for several; raises DataError if it is too large."""
    size, random = model.transform.recipe.image_size, np.random.default_rng(0)
    noise = random.integers(0, 256, (CHECKED, size, size, 3), dtype=np.uint8)
    noise[1] = np.linspace(0, 255, size)[None, :, None]  # a smooth image, like a face
    largest = 0.0
    for images in (noise, noise[:1]):
        own, other = model.logits_of(images), logits_of(images)
        differences = np.abs(own - other)
        if own.shape != other.shape or not (differences <= tolerance * (1 + np.abs(own))).all():
            raise DataError(
                f"the exported model gives other logits, by up to {differences.max():.3g}: nothing is written"
            )
        largest = max(largest, float(differences.max()))
    return largest
