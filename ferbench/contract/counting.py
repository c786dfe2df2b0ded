"""Counts what a method costs wherever it is spent: every image through a backbone, every step of an optimizer."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Counts(Protocol):
    """Where the counts are kept; a run's are in its checkpoint."""

    forward_images: int
    optimizer_steps: int


# Who counts what runs now. Backbones ask it at every call, so that copies, frozen teachers and functional calls count:
# a hook on the net would not be on the copy that a method makes of it.
_counting: ContextVar[tuple[Counts, int] | None] = ContextVar("ferbench_counting", default=None)


@contextmanager
def counting(counts: Counts, times: int = 1) -> Iterator[None]:
    """Within it forwards and optimizer steps are counted; an image `times` times, where processes share the images."""
    token = _counting.set((counts, times))
    try:
        yield
    finally:
        _counting.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Within it nothing counts: an image that a net is measured with while it is built is no work of the method."""
    token = _counting.set(None)
    try:
        yield
    finally:
        _counting.reset(token)


def count_forward(images: Sized) -> None:
    """Images went through a backbone; how many is asked only where it counts, as an exported net has any number."""
    if (active := _counting.get()) is not None:
        counts, times = active
        counts.forward_images += len(images) * times


def count_optimizer_step() -> None:
    """An optimizer took a step."""
    if (active := _counting.get()) is not None:
        active[0].optimizer_steps += 1
