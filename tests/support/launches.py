"""Counts what a GPU would be asked to start: operations that make or change numbers."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
NOTHING_RUNS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten.detach}


WAITING = {
    aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.allclose, aten.nonzero, aten.nonzero_static,
    aten.argwhere, aten.masked_select, aten.masked_scatter, aten.unique_consecutive, aten.unique_dim, aten._unique,
    aten._unique2, aten.bincount, aten.histc, aten.multinomial, aten.combinations, aten.linalg_eigh, aten._linalg_svd,
}  # fmt: skip
"""What has a result, or a shape, that the host must know before it goes on."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
"""Of these a mask waits, since its number of true values is a shape; positions do not."""
REPEATING = {aten.repeat_interleave}
"""Waits unless it is told the size of its result."""

FROM_THE_HOST = 20
"""Launches of a step that a graph repeats, its views apart: inputs, rates, weights of averages, the graph, counts."""


class Launches(TorchDispatchMode):
    """Within it operations are counted; views of a tensor and memory without content are none.

    An operation over a list of tensors (`torch._foreach_...`, a fused optimizer) counts as one. With the name
    of a device those alone count that it is asked for: what is computed there, or copied to it.
    """

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        self.count, self._device = 0, device
        self.waits: list[str] = []
        """The operations that would wait for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = any(made.alias_info is not None and not made.alias_info.is_write for made in func._schema.returns)
        if _waits(func.overloadpacket, args, kwargs or {}):
            self.waits.append(str(func))
        made = func(*args, **(kwargs or {}))
        asked = self._device is None or self._device in {
            each.device.type for each in tree_leaves(made) if torch.is_tensor(each)
        }
        self.count += asked and func.namespace == "aten" and not views and func.overloadpacket not in NOTHING_RUNS
        return made


def _waits(operation: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if operation in INDEXING:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if operation in REPEATING:
        return kwargs.get("output_size") is None
    if operation is aten._to_copy:
        # To the host; or from it to a device, since what was made of Python numbers is not pinned.
        return kwargs.get("device", args[0].device) != args[0].device
    if operation is aten.copy_:
        return bool(args[0].device != args[1].device)
    return operation in WAITING
