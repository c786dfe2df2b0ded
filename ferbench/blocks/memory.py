"""Memory of a fixed size."""

import torch
from torch import Tensor, nn


class Newest(nn.Module):
    """The newest `size` rows of `width` numbers, as a queue keeps them: (size, width) float32, zeros at first."""

    rows: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, width))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Rows (B, width) take the place of the oldest; with several processes give what `gather` gives."""
        self.rows.copy_(torch.cat([rows.to(self.rows.dtype), self.rows])[: len(self.rows)])
