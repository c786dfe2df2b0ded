"""Counts what a GPU would be asked to start: operations that make or change numbers."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
NOTHING_RUNS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten.detach}


class Launches(TorchDispatchMode):
    """Within it operations are counted; views of a tensor and memory without content are none.

    An operation over a list of tensors (`torch._foreach_...`, a fused optimizer) counts as one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = any(made.alias_info is not None and not made.alias_info.is_write for made in func._schema.returns)
        self.count += not views and func.overloadpacket not in NOTHING_RUNS
        return func(*args, **(kwargs or {}))
