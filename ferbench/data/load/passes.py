"""One pass over an unlabeled pool in its order, a batch at a time: a stream is read as it goes."""

from collections.abc import Iterator

import torch

from ferbench.data.load.image_set import Drawn, ImageSet
from ferbench.data.load.stream import Stream, read_positions


def in_order(pool: ImageSet | Stream, batch_size: int) -> Iterator[Drawn]:
    """Images, boxes and positions of the pool, each once; raises DataError for what a stream cannot read any more."""
    for start in range(0, len(pool), batch_size):
        stop = min(start + batch_size, len(pool))
        if isinstance(pool, Stream):
            yield read_positions(pool, torch.arange(start, stop))
        else:
            index = torch.arange(start, stop, device=pool.images.device)
            yield Drawn(pool.images[start:stop], pool.boxes[start:stop], index)
