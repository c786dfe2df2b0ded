"""What is sent arrives as it was: values, types and shapes, through one copy."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ferbench.data.augment.parcel import send
from tests.unit.data.augment.backends import gpu


class Pair(NamedTuple):
    first: Any
    second: Any


class Single(NamedTuple):
    only: Any


SENT = [
    Pair(np.arange(7, dtype=np.int16), np.array([True, False, True])),
    Single(np.array(0.25, np.float32)),
    Pair(np.arange(24.0).reshape(2, 3, 4), np.zeros((0, 5), np.int64)),
    Pair(np.arange(20, dtype=np.int32).reshape(4, 5).T, np.array(1 << 40)),
]


@pytest.mark.parametrize("device", ["cpu", "meta", pytest.param("cuda", marks=gpu)])
def test_arrives_as_it_was(device: str) -> None:
    there = send(SENT, torch.device(device))
    assert [type(part) for part in there] == [type(part) for part in SENT]
    for part, sent in zip(there, SENT, strict=True):
        for tensor, array in zip(part, sent, strict=True):
            expected = torch.tensor(array)
            assert (tensor.dtype, tensor.shape, tensor.device.type) == (expected.dtype, expected.shape, device)
            assert device == "meta" or torch.equal(tensor.cpu(), expected)


def test_nothing_to_send() -> None:
    assert send([], torch.device("cpu")) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_gpu() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        send(SENT, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
