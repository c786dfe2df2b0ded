"""The ways in which RandAugment runs: each must equal PIL."""

import pytest
import torch
from torch import Tensor

from ferbench.data.augment import dense, grouped
from ferbench.data.augment.operations import RandAugmentParameters
from ferbench.data.augment.parcel import send

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

# (device, whether all images go through all that an operation may need, as on a GPU).
BACKENDS = [
    pytest.param(("cpu", False), id="grouped"),
    pytest.param(("cpu", True), id="dense"),
    pytest.param(("cuda", True), id="cuda", marks=gpu),
]


def choose(backend: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Make RandAugment use `backend`; the device on which its images belong."""
    device, dense_there = backend
    if device == "cpu" and dense_there:
        monkeypatch.setattr(grouped, "apply", _as_on_a_gpu)
    return torch.device(device)


def _as_on_a_gpu(rgbx: Tensor, parameters: RandAugmentParameters) -> Tensor:
    [plan] = send([dense.prepare(parameters, *rgbx.shape[1:3])], rgbx.device)
    return dense.apply(rgbx, plan)
