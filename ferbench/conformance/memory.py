"""Count the tensors in memory while a method trains."""

import gc
import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ferbench.contract.protocol import EPOCHS
from ferbench.training.loop import Training

SAMPLES = 5


class MemoryWatch:
    """Called after every step; samples the second half of each stage, because a bank may fill up in the first."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def __call__(self, training: Training) -> None:
        planned = training.stages[training.progress.stage]
        # A multiple of an epoch: the numbers of its steps are kept on the device until it ends.
        epoch = max(1, planned.steps // EPOCHS)
        every = max(epoch, planned.steps // 2 // (SAMPLES - 1) // epoch * epoch)
        left = planned.steps - training.progress.step
        if left <= every * (SAMPLES - 1) and left % every == 0:
            training.background.wait()  # a checkpoint that is still being written holds copies of the tensors
            self._samples[planned.stage.name].append(_living_tensors())

    def verdict(self, variant: str) -> str:
        """Return the number of tensors at the end; raises AssertionError if number or size grew with every sample."""
        texts = []
        for stage, samples in self._samples.items():
            counts, sizes = zip(*samples, strict=True)
            for what, values in (("tensors", counts), ("bytes in tensors", sizes)):
                grows = len(values) > 2 and all(a < b for a, b in itertools.pairwise(values))
                assert not grows, (
                    f"variant '{variant}', stage '{stage}': {values[0]:,} {what} after half of the steps, "
                    f"{values[-1]:,} at the end, and growing at each sample between"
                )
            texts.append(f"{counts[-1]} tensors")
        return ", ".join(texts)


@contextmanager
def new_objects_alone() -> Iterator[None]:
    """In this block only new objects are counted, because counting all objects of a session takes seconds."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _living_tensors() -> tuple[int, int]:
    """Return number and bytes of all tensors that Python tracks, except frozen objects."""
    gc.collect()
    count = size = 0
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would ask a proxy for its __class__
            count += 1
            size += thing.nelement() * thing.element_size()
    return count, size
