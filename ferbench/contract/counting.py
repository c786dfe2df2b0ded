"""Counts the cost of a method: every image that goes through a backbone, every step of an optimizer."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Counts(Protocol):
    """An object that holds the counts; those of a run are part of its checkpoint."""

    forward_images: int
    optimizer_steps: int


# The active counter. Backbones look it up at every call, so that copies, frozen teachers and functional calls count
# too: a hook on the net would be missing on a copy that a method makes of it.
_counting: ContextVar[tuple[Counts, int] | None] = ContextVar("ferbench_counting", default=None)


@contextmanager
def counting(counts: Counts, times: int = 1) -> Iterator[None]:
    """Count forwards and optimizer steps in this block; an image counts `times` times if processes share the images."""
    token = _counting.set((counts, times))
    try:
        yield
    finally:
        _counting.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing in this block: building a net may forward an image, which is not work of the method."""
    token = _counting.set(None)
    try:
        yield
    finally:
        _counting.reset(token)


def count_forward(images: Sized) -> None:
    """Count images through a backbone; their number is read only if counted, since an exported net has no fixed one."""
    if (active := _counting.get()) is not None:
        counts, times = active
        counts.forward_images += len(images) * times


def count_optimizer_step() -> None:
    """Count one step of an optimizer."""
    if (active := _counting.get()) is not None:
        active[0].optimizer_steps += 1


def count_again(cost: Counts) -> None:
    """Count a known cost again. A graph repeats its work without running the code that counts."""
    if (active := _counting.get()) is not None:
        counts, times = active
        counts.forward_images += cost.forward_images * times
        counts.optimizer_steps += cost.optimizer_steps
