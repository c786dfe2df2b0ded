"""Passes over images in evaluation mode."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import UnlabeledPredictions, ViewSpec, plain
from ferbench.data.load.image_set import ImageSet
from ferbench.data.load.passes import in_order
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker
from ferbench.records.metrics import to_float16
from ferbench.training.checkpoint import read_checkpoint

PLAIN = plain()
KEPT_BYTES = 2**29
"""Room for normalised test images while several states of a net are evaluated on them."""


def logits_of(
    net: Network, pool: ImageSet, maker: ViewMaker, batch_size: int, *, view: ViewSpec = PLAIN, seed: int = 0
) -> Tensor:
    """Logits (N, C) float32 on the pool's device, in the pool's order; the net's mode is restored."""
    generator = torch.Generator().manual_seed(seed)
    return _logits(net, (_input(pool, maker, part, view, generator) for part in _parts(pool, batch_size)))


def evaluations(
    net: Network, snapshots: Iterable[Path], images: ImageSet, maker: ViewMaker, batch_size: int
) -> NDArray[np.float16]:
    """Logits (E, N, C) of N images, as predictions are stored: from earlier states of a net, then from its own state.

    Metrics are computed from these logits, so that anyone can recompute them. Each state sees the images once. The
    images are normalised once for all states, as far as `KEPT_BYTES` allows.
    """
    trained = {name: value.clone() for name, value in net.state_dict().items()}
    found, inputs = [], PlainInputs(images, maker, batch_size)
    for state in (*(read_checkpoint(path).tensors for path in snapshots), trained):
        net.load_state_dict(state)
        found.append(to_float16(_logits(net, inputs).cpu().numpy()))
    return np.stack(found)


class PlainInputs:
    """The normalised plain views of a pool in batches (B, 3, S, S) float32, in channels_last memory, for many passes.

    The first pass makes the views and keeps the first `KEPT_BYTES` of them. The next passes reuse those.
    """

    def __init__(self, pool: ImageSet, maker: ViewMaker, batch_size: int) -> None:
        self._pool, self._maker, self._parts = pool, maker, list(_parts(pool, batch_size))
        self._kept: list[Tensor] = []
        self._room = KEPT_BYTES

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._kept
        for number in range(len(self._kept), len(self._parts)):
            made = _input(self._pool, self._maker, self._parts[number], PLAIN, torch.Generator())
            if number == len(self._kept) and made.nbytes <= self._room:
                self._kept.append(made)
                self._room -= made.nbytes
            yield made


def _parts(pool: ImageSet, batch_size: int) -> Iterator[slice]:
    return (slice(start, start + batch_size) for start in range(0, len(pool), batch_size))


def _input(pool: ImageSet, maker: ViewMaker, part: slice, view: ViewSpec, generator: torch.Generator) -> Tensor:
    pixels, _ = maker.pixels(view, pool.images[part], pool.boxes[part], generator)
    return maker.normalised(pixels)


@torch.no_grad()
def _logits(net: Network, inputs: Iterable[Tensor]) -> Tensor:
    training = net.training
    net.eval()
    parts = [net(images).logits.float() for images in inputs]
    net.train(training)
    return torch.cat(parts)


def unlabeled_logits(
    net: Network, pool: ImageSet | Stream, maker: ViewMaker, batch_size: int, *, view: ViewSpec, seed: int
) -> Iterator[UnlabeledPredictions]:
    """A pass over an unlabeled pool in evaluation mode, batch by batch. The net's mode is restored after each batch."""
    generator = torch.Generator().manual_seed(seed)
    for drawn in in_order(pool, batch_size):
        pixels, _ = maker.pixels(view, drawn.images, drawn.boxes, generator)
        yield UnlabeledPredictions(_logits(net, [maker.normalised(pixels)]), drawn.index)
