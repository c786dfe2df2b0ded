"""Finds what would wait for a GPU, on a CPU: operations that read values, or whose shape depends on them."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero, aten._unique2}


class NothingWaits(TorchDispatchMode):
    """Within it such an operation raises AssertionError."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket not in WAITING, f"{func} waits for the device"
        if func.overloadpacket is aten.index:
            kinds = [index.dtype for index in args[1] if index is not None]
            assert torch.bool not in kinds, "indexing with a mask waits for the device"
        return func(*args, **(kwargs or {}))
