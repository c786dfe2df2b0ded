"""The ways in which the batch operations run: each must equal PIL."""

import pytest
import torch

from ferbench.data.augment import randaugment

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

# (device, whether colour operations see CPU images as NumPy arrays). Tensors on the CPU are what a GPU would run.
BACKENDS = [
    pytest.param(("cpu", True), id="numpy"),
    pytest.param(("cpu", False), id="torch"),
    pytest.param(("cuda", False), id="cuda", marks=gpu),
]


def choose(backend: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Make RandAugment use `backend`; the device on which its images belong."""
    device, arrays = backend
    if not arrays:
        monkeypatch.setattr(randaugment, "native", lambda tensor: tensor)
    return torch.device(device)
