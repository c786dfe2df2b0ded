"""One pass over an unlabeled pool, batch by batch. A stream is read during the pass."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ferbench.data.load.image_set import Drawn, ImageSet
from ferbench.data.load.stream import Stream, read_positions


def in_order(pool: ImageSet | Stream, batch_size: int) -> Iterator[Drawn]:
    """Images, boxes and numbers of the pool, each image once. Raises DataError if a stream can no longer be read.

    The order follows the numbers: positions would reveal the class if ids do. The images of a stream come last.
    """
    order = _order(pool)
    for start in range(0, len(pool), batch_size):
        positions = order[start : start + batch_size]
        if isinstance(pool, Stream):
            yield read_positions(pool, positions.cpu())
        else:
            numbers = positions if pool.numbers is None else pool.numbers[positions]
            yield Drawn(pool.images[positions], pool.boxes[positions], numbers)


def _order(pool: ImageSet | Stream) -> Tensor:
    if pool.numbers is None:
        return torch.arange(len(pool), device=None if isinstance(pool, Stream) else pool.images.device)
    in_memory = pool.n_packed if isinstance(pool, Stream) else len(pool)
    rest = torch.arange(in_memory, len(pool), device=pool.numbers.device)
    return torch.cat([pool.numbers[:in_memory].argsort(), rest])
