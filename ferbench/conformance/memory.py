"""Counts the tensors that live while a method trains."""

import gc
import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ferbench.training.loop import Training

SAMPLES = 5


class MemoryWatch:
    """Asked after every step; samples the second half of each stage, since a bank may fill in the first."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def __call__(self, training: Training) -> None:
        planned = training.stages[training.progress.stage]
        half = planned.steps // 2
        every = max(1, half // (SAMPLES - 1))
        left = planned.steps - training.progress.step
        if left <= every * (SAMPLES - 1) and left % every == 0:
            self._samples[planned.stage.name].append(_living_tensors())

    def verdict(self, variant: str) -> str:
        """What lived at the end; raises AssertionError where number or size has grown from sample to sample."""
        texts = []
        for stage, samples in self._samples.items():
            counts, sizes = zip(*samples, strict=True)
            for what, values in (("tensors", counts), ("bytes in tensors", sizes)):
                grows = len(values) > 2 and all(a < b for a, b in itertools.pairwise(values))
                assert not grows, (
                    f"variant '{variant}', stage '{stage}': {values[0]:,} {what} at half of the steps, "
                    f"{values[-1]:,} at the end, and more at each look between"
                )
            texts.append(f"{counts[-1]} tensors")
        return ", ".join(texts)


@contextmanager
def new_objects_alone() -> Iterator[None]:
    """Within it looks at what lives see what is made within it: to go through all that a session has takes seconds."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _living_tensors() -> tuple[int, int]:
    """Number and bytes of all tensors that Python knows, but for those that are frozen."""
    gc.collect()
    count = size = 0
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would ask a proxy for its __class__
            count += 1
            size += thing.nelement() * thing.element_size()
    return count, size
