"""Unlabeled images that are read while the run trains. Background processes decode them, in a seeded order."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ferbench.data.augment.parcel import to_device
from ferbench.data.load.image_set import Drawn, ImageSet
from ferbench.data.load.image_store import CENTRAL_BOX
from ferbench.data.prepare.stream_index import StreamIndex, StreamReader
from ferbench.data.seeds import derive
from ferbench.errors import DataError

BLOCK = 256
"""Images that are read one after another, so that a disk need not seek: 2 to 10 MB of an archive."""
WINDOW = 64
"""Blocks that are shuffled together: 16,384 images, with more identities than a batch can show."""
AHEAD = 4
"""Batches that each worker prepares ahead; this limits the memory."""


@dataclass(frozen=True)
class Stream:
    """N images of a streamed set as an unlabeled pool. If there is a `packed` pool, its images come first.

    `rows` are the rows of the index that may be drawn. `numbers` (N,) int64 identify all images for a method; None
    means their positions.
    """

    index: StreamIndex
    rows: NDArray[np.integer]
    device: torch.device
    packed: ImageSet | None = None
    numbers: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows) + self.n_packed

    @property
    def n_packed(self) -> int:
        """The number of images in memory, which come first."""
        return 0 if self.packed is None else len(self.packed)


class WindowOrder:
    """Endless passes over n images: blocks are shuffled, and then the images in each window of blocks.

    A step's draw depends only on seed and step, as in `IndexStream`. Images that are drawn close together lie close
    together in the files, so that a pass reads every shard about once.
    """

    def __init__(self, n: int, batch_size: int, seed: int, *, block: int = BLOCK, window: int = WINDOW) -> None:
        self.n, self.batch_size, self._seed = n, batch_size, seed
        self._block, self._window = block, window
        self._made: dict[tuple[int, int], tuple[int, Tensor]] = {}
        self._starts: tuple[int, Tensor, Tensor] = (-1, torch.empty(0), torch.empty(0))

    def at(self, step: int) -> Tensor:
        """Positions (batch_size,) int64 of a step."""
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while start < stop:
            first, images = self._window_of(*divmod(start, self.n))
            inside = start % self.n - first
            parts.append(images[inside : inside + stop - start])
            start += len(parts[-1])
        return torch.cat(parts)

    def _window_of(self, k: int, position: int) -> tuple[int, Tensor]:
        """The window of pass k that holds a position: its first position, and its images in their order."""
        blocks, ends = self._blocks(k)
        number = int(torch.searchsorted(ends, position, right=True)) // self._window
        if (k, number) not in self._made:
            chosen = blocks[number * self._window : (number + 1) * self._window].tolist()
            spans = [torch.arange(b * self._block, min((b + 1) * self._block, self.n)) for b in chosen]
            images = torch.cat(spans)
            generator = torch.Generator().manual_seed(derive(self._seed, "window", k, number))
            images = images[torch.randperm(len(images), generator=generator)]
            first = int(ends[number * self._window - 1]) if number else 0
            self._made = {(k, number): (first, images)}
        return self._made[k, number]

    def _blocks(self, k: int) -> tuple[Tensor, Tensor]:
        """The blocks of pass k in their order, and the end position of each."""
        if self._starts[0] != k:
            generator = torch.Generator().manual_seed(derive(self._seed, "blocks", k))
            blocks = torch.randperm(-(-self.n // self._block), generator=generator)
            lengths = (self.n - blocks * self._block).clamp(max=self._block)
            self._starts = (k, blocks, lengths.cumsum(0))
        return self._starts[1], self._starts[2]


class StreamLoader:
    """The images of a stream's steps, decoded ahead by worker processes."""

    def __init__(self, stream: Stream, batch_size: int, seed: int, steps: int, workers: int = 1) -> None:
        self.stream, self.order, self.steps = stream, WindowOrder(len(stream), batch_size, seed), steps
        self.workers = workers
        self._waited = 0.0
        self._ahead: Iterator[tuple[Tensor, Tensor] | DataError] = iter(())
        self._next = -1

    def at(self, step: int) -> Drawn:
        """The draw of a step, on the stream's device; raises DataError for a record that can no longer be read."""
        started = time.monotonic()
        if step != self._next:
            self._ahead = self._start(step)
        self._next = step + 1
        item = next(self._ahead)
        self._waited += time.monotonic() - started
        return _drawn(self.stream, item)

    def take_waited(self) -> float:
        """Seconds that steps waited for images since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def _start(self, step: int) -> Iterator[tuple[Tensor, Tensor] | DataError]:
        loader = DataLoader(
            _Decoded(self.stream),
            sampler=(self.order.at(t) for t in range(step, self.steps)),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=AHEAD,
            # Without its own generator, starting the workers would draw from the run's generator.
            generator=torch.Generator(),
        )
        return iter(loader)


def read_positions(stream: Stream, positions: Tensor) -> Drawn:
    """The images at positions (B,) int64 of a stream, decoded in this process."""
    return _drawn(stream, _Decoded(stream)[positions])


def _drawn(stream: Stream, item: tuple[Tensor, Tensor] | DataError) -> Drawn:
    if isinstance(item, DataError):
        raise item
    index, images = (to_device(tensor, stream.device) for tensor in item)
    central = (torch.tensor([CENTRAL_BOX]) * images.shape[1]).expand(len(images), 4)
    boxes = to_device(central.contiguous(), stream.device)
    if stream.packed is not None and stream.n_packed:  # fill the empty places with the images in memory
        inside, row = index < stream.n_packed, index.clamp(max=stream.n_packed - 1)
        images = torch.where(inside.view(-1, 1, 1, 1), stream.packed.images[row], images)
        boxes = torch.where(inside.view(-1, 1), stream.packed.boxes[row], boxes)
    return Drawn(images, boxes, index if stream.numbers is None else stream.numbers[index])


class _Decoded(torch.utils.data.Dataset[tuple[Tensor, Tensor] | DataError]):
    """Maps positions of a batch to images, in a worker. It returns an error instead of raising it, to keep the text."""

    def __init__(self, stream: Stream) -> None:
        self.reader: StreamReader = stream.index.reader
        self.rows, self.n_packed = stream.rows, stream.n_packed

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, Tensor] | DataError:
        size = self.reader.image_size
        images = np.zeros((len(positions), size, size, 3), np.uint8)
        streamed = (positions >= self.n_packed).numpy()
        try:
            images[streamed] = self.reader.images(self.rows[positions.numpy()[streamed] - self.n_packed])
        except DataError as error:
            return error
        return positions, torch.from_numpy(images)
