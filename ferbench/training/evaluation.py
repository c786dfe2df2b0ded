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


@torch.no_grad()
def logits_of(
    net: Network, pool: ImageSet, maker: ViewMaker, batch_size: int, *, view: ViewSpec = PLAIN, seed: int = 0
) -> Tensor:
    """Logits (N, C) float32 on the pool's device, in the pool's order; the net's mode is restored."""
    training = net.training
    net.eval()
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(pool), batch_size):
        stop = start + batch_size
        pixels, _ = maker.pixels(view, pool.images[start:stop], pool.boxes[start:stop], generator)
        parts.append(net(maker.normalised(pixels)).logits.float())
    net.train(training)
    return torch.cat(parts)


def evaluations(
    net: Network, snapshots: Iterable[Path], images: ImageSet, maker: ViewMaker, batch_size: int
) -> NDArray[np.float16]:
    """What earlier states of a net and then its own say of N images: logits (E, N, C) as predictions are stored.

    Metrics are computed from these, so that anyone can recompute them.
    """
    trained = {name: value.clone() for name, value in net.state_dict().items()}
    found = []
    for state in (*(read_checkpoint(path).tensors for path in snapshots), trained):
        net.load_state_dict(state)
        found.append(to_float16(logits_of(net, images, maker, batch_size).cpu().numpy()))
    return np.stack(found)


def unlabeled_logits(
    net: Network, pool: ImageSet | Stream, maker: ViewMaker, batch_size: int, *, view: ViewSpec, seed: int
) -> Iterator[UnlabeledPredictions]:
    """A pass over an unlabeled pool in evaluation mode, a batch at a time; the net's mode is restored after each."""
    generator = torch.Generator().manual_seed(seed)
    for drawn in in_order(pool, batch_size):
        training = net.training
        pixels, _ = maker.pixels(view, drawn.images, drawn.boxes, generator)
        with torch.no_grad():
            logits = net.eval()(maker.normalised(pixels)).logits.float()
        net.train(training)
        yield UnlabeledPredictions(logits, drawn.index)
